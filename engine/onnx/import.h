#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/tensor/tensor.h"

namespace hachi {

// Reads an .onnx file (opsets 1 to 23 of the default domain, and what README.md names of com.microsoft) into
// a graph in topological order whose nodes have the newest operator form (README.md says which). Only dtypes
// and dimensions of inputs and constants are set: what the file declares elsewhere is not trusted. All
// constants are owned by the graph. Functions of the file's own are inlined, and so are operators that
// `known` does not know and that ONNX defines by others; null: all are known.
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
absl::StatusOr<ImportedModel> ImportOnnx(const std::filesystem::path& file, bool want_sha256 = true,
                                         bool (*known)(std::string_view op) = nullptr);

// Reads a file that holds one TensorProto, as the ONNX test data does. External data is refused.
absl::StatusOr<Tensor> ReadTensorProtoFile(const std::filesystem::path& file);

}  // namespace hachi
