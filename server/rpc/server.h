#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/base/clock.h"

namespace grpc {
class Server;
class ServerCredentials;
class Service;
}  // namespace grpc

namespace hachi::server {

class Access;
class Answers;
class BatchScheduler;
class Certificates;
class Connections;
class ModelRegistry;
struct ServerMetrics;

// The gRPC front: inference.GRPCInferenceService, grpc.health.v1.Health and server reflection on one address.
//
// Owned by Daemon; outlived by what its options point at. Serves from Create on, but health and ServerReady
// say "not serving" until SetServing. A request that was admitted is answered however the server ends.
//
// Connections are accepted here (server/net), since gRPC 1.51 never accepts again once it ran out of
// descriptors; gRPC gets each as soon as the limits have let it in.
//
// Thread-safe.
class RpcServer {
 public:
  struct Options {
    std::string address;                          // host:port (port 0: any free one) or unix:/path
    const ModelRegistry* registry = nullptr;      // required
    BatchScheduler* scheduler = nullptr;          // required
    ServerMetrics* metrics = nullptr;             // required
    const Clock* clock = &Clock::Real();          // of the scheduler too
    int64_t max_message_bytes = 64 << 20;         // a larger request is RESOURCE_EXHAUSTED; at most 2^31 - 1
    int64_t inflight_bytes = int64_t{256} << 20;  // the scheduler's: answers that wait get half of it
    int64_t received_bytes = int64_t{512} << 20;  // of messages that are still coming, about
    absl::Duration answer_time = absl::Seconds(20);  // until a client has to have taken its answer
    int streams_per_connection = 256;                // a client queues its calls beyond that
    int connections = 1024;                          // at once
    int connections_per_address = 512;               // of an IPv4 address or an IPv6 /64
    absl::Duration
        connection_age;  // then a connection is asked to end; zero: never. About: a tenth more or less
    std::shared_ptr<Certificates> certificates;  // null: no TLS
    bool require_client_certificates = true;     // with a client_ca
    const Access* access = nullptr;              // null: whoever may connect may use every model
    bool reflection = true;
    bool access_log = false;  // a line in the log for each inference
  };

  // INVALID_ARGUMENT for options out of range; UNAVAILABLE when the address can't be bound.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Create(Options options);

  // Shuts down at once if Shutdown was not called.
  ~RpcServer();

  // As bound: "0.0.0.0:43210", "unix:/run/hachi.sock".
  const std::string& address() const { return address_; }
  int port() const { return port_; }  // 0 for a Unix socket

  // What health answers for the whole server (""), and ServerReady with it; what it answers for one model.
  // The service "liveness" is serving until Shutdown: a server that loads, drains or failed to load is alive.
  // It is not while no connection can be accepted, for ten seconds or longer.
  void SetServing(bool serving);
  void SetServing(const std::string& model, bool serving);

  // Refuses new calls and waits for those in flight: until `deadline` from now, then they are cancelled.
  // Streams without an end of their own (health watchers) hold nothing up: they are cancelled about when the
  // last inference has been answered. Final.
  void Shutdown(absl::Duration deadline);

  // Calls that are still in flight after so long are cancelled, in the Shutdown that runs or comes.
  void CancelCallsIn(absl::Duration at_most);

 private:
  explicit RpcServer(Options options);
  absl::Status Listen();

  const Options options_;
  std::atomic<bool> serving_ = false;    // a flag: nothing else is published with it
  std::atomic<int64_t> open_calls_ = 0;  // a count, likewise
  std::atomic<std::chrono::steady_clock::time_point> cancel_at_ =  // likewise
      std::chrono::steady_clock::time_point::max();
  std::unique_ptr<Answers> answers_;
  std::unique_ptr<grpc::Service> service_, reflection_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Connections> connections_;  // hands them to server_
  std::string address_;
  int port_ = 0;
};

}  // namespace hachi::server
