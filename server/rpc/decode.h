#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "inference.pb.h"

namespace hachi::server {

// Bytes as they lie in the network's buffers, split anywhere.
using Chunks = std::vector<std::span<const std::byte>>;

// A ModelInfer request as it came: `head` has all fields but raw_input_contents; those stay where gRPC put
// them, one Chunks an entry, and live as long as `slices`.
struct WireInfer {
  inference::ModelInferRequest head;
  std::vector<Chunks> raw;
  std::shared_ptr<const std::vector<grpc::Slice>> slices;
};

// INVALID_ARGUMENT when the bytes are no such message, or when it has more than 1,024 inputs, outputs,
// parameters or raw entries: each costs far more memory than the two bytes it may take on the wire.
absl::StatusOr<WireInfer> DecodeInfer(const grpc::ByteBuffer& bytes);

}  // namespace hachi::server
