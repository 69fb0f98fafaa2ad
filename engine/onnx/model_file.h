#pragma once

#include <onnx/onnx_pb.h>

#include <filesystem>

#include "absl/status/status.h"
#include "engine/base/sha256.h"

namespace hachi {

// Parses an ONNX file into `model`, and adds its bytes to `sha256` meanwhile, where that is not null. The
// file is read once, piece by piece. DATA_LOSS when it does not parse; else errors are FileReader's.
absl::Status ParseModelFile(const std::filesystem::path& file, onnx::ModelProto& model, Sha256* sha256);

}  // namespace hachi
