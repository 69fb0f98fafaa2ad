#pragma once

#include <onnx/onnx_pb.h>

#include <filesystem>

#include "absl/status/statusor.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/tensor.h"

namespace hachi {

// The DType of an ONNX element type. UNIMPLEMENTED for those that ONNX has and we do not; INVALID_ARGUMENT
// for numbers that mean nothing.
absl::StatusOr<DType> ToDType(int onnx_type);

// The tensor, from whichever field holds its elements. Nothing is allocated before the amount of data is
// known to fit the dimensions. External data is read below `directory`; nullptr refuses it.
absl::StatusOr<Tensor> ToTensor(const onnx::TensorProto& proto, const std::filesystem::path* directory);

}  // namespace hachi
