#pragma once

#include <onnx/onnx_pb.h>

#include <filesystem>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/sha256.h"
#include "engine/tensor/tensor.h"

namespace hachi {

// A parsed ONNX file.
struct ModelFile {
  onnx::ModelProto model;
  // The elements of the graph's initializers, one by one, where they are more than a few: the messages are
  // without them then. nullopt: they are in the message, or in another file.
  std::vector<std::optional<Tensor>> elements;
};

// Parses an ONNX file, and adds its bytes to `sha256` meanwhile, where that is not null. The file is read
// once, piece by piece; elements of initializers are copied from there to where they stay. DATA_LOSS when it
// does not parse; else errors are FileReader's.
absl::StatusOr<ModelFile> ParseModelFile(const std::filesystem::path& file, Sha256* sha256);

}  // namespace hachi
