#pragma once

#include <span>

#include "engine/engine.h"

namespace hachi::server {

// Looks at rows that a model has answered.
//
// Thread-safe: workers call it at once.
class RowsObserver {
 public:
  virtual ~RowsObserver() = default;

  // Called by a worker after each run that went well, before the answers leave: `requests` with their outputs
  // are good until it returns. Must not block, and be quick where it takes nothing.
  virtual void Observe(std::span<const Rows> requests) = 0;
};

}  // namespace hachi::server
