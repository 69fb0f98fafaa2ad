#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "engine/base/clock.h"

namespace grpc {
class CallbackServerContext;
class ServerUnaryReactor;
}  // namespace grpc

namespace hachi::server {

class Access;
class Answers;
class BatchScheduler;
class ModelRegistry;
struct ServerMetrics;

// What a ModelInfer call needs of the server; outlives the call.
struct InferEnvironment {
  const ModelRegistry* registry;
  BatchScheduler* scheduler;
  ServerMetrics* metrics;
  const Clock* clock;
  const Access* access;  // null: everybody may use everything
  Answers* answers;
  int64_t answer_bytes_per_connection;                                       // that wait for their client
  std::function<void(const std::string& client, int64_t bytes)> on_request;  // a whole one has come
  std::function<void(const std::string& client)> on_taken_back;  // one was not whole when its call ended
  std::atomic<int64_t>* open_calls;                              // begun and not yet done: kept here
  bool access_log;
};

// Answers one ModelInfer call: decodes, admits, enqueues, and finishes it when a worker has. `request` is not
// needed any more on return; `response` and `context` are until the call is done, as gRPC keeps them.
grpc::ServerUnaryReactor* StartModelInfer(const InferEnvironment& environment,
                                          grpc::CallbackServerContext& context,
                                          const grpc::ByteBuffer& request, grpc::ByteBuffer& response);

}  // namespace hachi::server
