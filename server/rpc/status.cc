#include "server/rpc/status.h"

#include <grpcpp/server_context.h>

#include <string>

#include "server/batching/batch_scheduler.h"

namespace hachi::server {
namespace {

constexpr size_t kMaxMessageBytes = 1024;  // trailers share 8 KiB with all other metadata

// At most kMaxMessageBytes of `message`, not cut inside a UTF-8 sequence.
std::string Bounded(absl::string_view message) {
  if (message.size() <= kMaxMessageBytes) return std::string(message);
  size_t end = kMaxMessageBytes;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
  return std::string(message.substr(0, end)) + " ...";
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status, grpc::CallbackServerContext& context) {
  if (status.ok()) return grpc::Status::OK;
  const auto pushback = status.GetPayload({kPushbackPayloadUrl.data(), kPushbackPayloadUrl.size()});
  if (pushback) context.AddTrailingMetadata("grpc-retry-pushback-ms", std::string(*pushback));
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), Bounded(status.message()));
}

}  // namespace hachi::server
