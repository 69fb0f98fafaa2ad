#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "inference.pb.h"
#include "server/rpc/chunks.h"

namespace hachi::server {

// A ModelInfer request as it came: `head` has all fields but the tensors' elements; those stay where gRPC put
// them, and live as long as `slices`.
struct WireInfer {
  inference::ModelInferRequest head;
  std::vector<Chunks> raw;                      // an entry of raw_input_contents each
  std::vector<std::optional<Chunks>> contents;  // of each input, an InferTensorContents; nullopt: it has none
  std::shared_ptr<const std::vector<grpc::Slice>> slices;
};

// INVALID_ARGUMENT when the bytes are no such message, when it has more than 64 KiB beside its tensors'
// elements, or more than 1,024 inputs, outputs, parameters or raw entries: each of these may cost far more
// memory than it takes on the wire. What `contents` hold is not looked at.
absl::StatusOr<WireInfer> DecodeInfer(const grpc::ByteBuffer& bytes);

}  // namespace hachi::server
