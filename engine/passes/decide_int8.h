#pragma once

#include <functional>

#include "engine/graph/graph.h"
#include "engine/passes/pass.h"

namespace hachi {

// Whether a product is to run on integers that are not a table's: those of the file, or what a run finds.
// Goes to PassOptions::decided where there is no table. `could`: whether kernels would take it so; asked only
// where it is wanted.
bool DecideInt8(const PassOptions& options, const Node& product, const std::function<bool()>& could);

}  // namespace hachi
