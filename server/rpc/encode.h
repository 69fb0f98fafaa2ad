#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "server/batching/request.h"

namespace hachi::server {

// The ModelInferResponse to an answered request: the outputs of these indices of the signature, in this
// order. Tensor bytes are not copied: the buffer holds on to `request`, which owns them.
grpc::ByteBuffer EncodeInfer(const std::shared_ptr<const Request>& request, const std::string& id,
                             std::span<const size_t> outputs);

}  // namespace hachi::server
