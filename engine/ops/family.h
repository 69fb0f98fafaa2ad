#pragma once

#include <vector>

#include "engine/ops/op.h"

namespace hachi {

// The OpDef of each row of a family's table.
template <typename Rows, typename Make>
std::vector<OpDef> OpsOf(const Rows& rows, const Make& make) {
  std::vector<OpDef> defs;
  for (const auto& row : rows) defs.push_back(make(row));
  return defs;
}

}  // namespace hachi
