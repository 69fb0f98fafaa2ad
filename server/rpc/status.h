#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace grpc {
class CallbackServerContext;
}

namespace hachi::server {

// The only conversion from our errors to gRPC's. The code is kept. The message is cut at 1 KiB, since it may
// quote what the client sent. RESOURCE_EXHAUSTED adds the trailer grpc-retry-pushback-ms when the status has
// that payload (see batch_scheduler.h).
grpc::Status ToGrpc(const absl::Status& status, grpc::CallbackServerContext& context);

}  // namespace hachi::server
