#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/tensor/tensor.h"

namespace hachi::server {

// One row of a request that has been answered, copied: its inputs by name as the client sent them, with a
// leading 1 where rows run together.
std::map<std::string, Tensor> CopyOfInputs(const Signature& signature, const Rows& request, int64_t row);

// Likewise what it was answered, in the signature's order; empty tensors for outputs that were not wanted.
// REQUIRES: the outputs' sizes were known before the run.
std::vector<Tensor> CopyOfOutputs(const Signature& signature, const Rows& request, int64_t row);

}  // namespace hachi::server
