#pragma once

#include <memory>

#include "engine/engine.h"

namespace hachi {

// The model, except that nothing is thrown: where it, a library or the allocator does, callers get a status
// (see engine/base/no_throw.h).
std::unique_ptr<Model> Guarded(std::unique_ptr<Model> model);

}  // namespace hachi
