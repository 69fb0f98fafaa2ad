#pragma once

#include <onnx/onnx_pb.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/tensor/tensor.h"

namespace hachi {

// Where a tensor's bytes are when they are not in the model file.
struct ExternalData {
  std::string location;  // relative to the model's directory
  int64_t offset = 0;
  std::optional<int64_t> length;  // nullopt: as many as the tensor needs
};

// REQUIRES: proto.data_location() is EXTERNAL.
absl::StatusOr<ExternalData> ParseExternalData(const onnx::TensorProto& proto);

// The file of `location`, resolved. INVALID_ARGUMENT when it is absolute, climbs, or leads out of `directory`
// through a symbolic link; links that stay inside are followed, as Kubernetes volumes are made of them.
absl::StatusOr<std::filesystem::path> ResolveExternalFile(const std::string& location,
                                                          const std::filesystem::path& directory);

// A tensor whose elements are external. The range is checked against the file before anything is allocated;
// DATA_LOSS when the file is too short.
absl::StatusOr<Tensor> ReadExternalTensor(const ExternalData& data, DType dtype, const Shape& shape,
                                          const std::filesystem::path& directory);

}  // namespace hachi
