#pragma once

#include <atomic>
#include <memory>

#include "server/rpc/model_infer.h"

namespace grpc {
class Service;
}

namespace hachi::server {

// inference.GRPCInferenceService: all of its 20 methods, those that are not offered with a sentence. Every
// method parses its message itself, because gRPC answers bytes that do not parse with an empty UNIMPLEMENTED.
// `infer` and `serving` (what ServerReady says) outlive the service.
std::unique_ptr<grpc::Service> NewInferenceService(const InferEnvironment& infer,
                                                   const std::atomic<bool>& serving);

}  // namespace hachi::server
