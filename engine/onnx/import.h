#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/tensor/tensor.h"

namespace hachi {

// Reads an .onnx file (IR version 3 and up, default domain, opsets 7 to 21) into a graph in topological order
// whose nodes have the newest operator form (README.md says which). Only dtypes and dimensions of inputs and
// constants are set: what the file declares elsewhere is not trusted. All constants are owned by the graph.
//
// NOT_FOUND: a file is missing. DATA_LOSS: the file does not parse or external data is shorter than it says.
// INVALID_ARGUMENT: the file contradicts itself. UNIMPLEMENTED: it asks for what we do not support. Unknown
// operators are kept: whether one exists is the operators' business.
//
// With `want_sha256` the hash of what was read is returned, too.
struct ImportedModel {
  Graph graph;
  std::string sha256;  // over `file`, then its external data files, each once, ordered by the location that
                       // the model gives them: what a calibration table says it belongs to
};
absl::StatusOr<ImportedModel> ImportOnnx(const std::filesystem::path& file, bool want_sha256 = true);

// Reads a file that holds one TensorProto, as the ONNX test data does. External data is refused.
absl::StatusOr<Tensor> ReadTensorProtoFile(const std::filesystem::path& file);

}  // namespace hachi
