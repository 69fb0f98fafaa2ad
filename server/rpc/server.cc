#include "server/rpc/server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/service_type.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <future>
#include <limits>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "server/models/model_registry.h"
#include "server/net/connections.h"
#include "server/rpc/answers.h"
#include "server/rpc/credentials.h"
#include "server/rpc/model_infer.h"
#include "server/rpc/reflection.h"
#include "server/rpc/service.h"

namespace hachi::server {
namespace {

constexpr char kLiveness[] = "liveness";

// Half-open connections are found within 40 s. gRPC's own 2 h would keep their memory for as long.
constexpr int kKeepaliveMs = 30'000;
constexpr int kKeepaliveTimeoutMs = 10'000;

// Clients may ping as often as they like. gRPC 1.51 would close a connection that does so too often, but
// while an answer of it is still being written it remembers each ping too many in one error, copied for each:
// a few thousand in one read keep its threads for minutes. Answering costs no more than reading does;
// connections that do nothing else are server/net's to cut.
constexpr int kPingStrikes = 0;

// The most that is read of a connection at once. What has been read is worked through whatever becomes of the
// connection, and gRPC 1.51 works on headers again and again as they grow: with its own 4 MiB, a connection
// that was cut for that kept its threads for ten seconds more.
constexpr int kReadChunkBytes = 256 << 10;

// Who connects and says nothing is gone after so long; gRPC's own 2 min would keep their memory.
constexpr int kHandshakeTimeoutMs = 10'000;

// How long calls may go on over a connection that is to end.
constexpr int kConnectionAgeGraceMs = 60'000;

// While a server shuts down: how long no inference has to be open until those left are taken for watchers.
// Long enough for a request that was on its way to arrive and count. And how often it looks.
constexpr auto kWatcherGrace = std::chrono::milliseconds(500);
constexpr auto kLookAgain = std::chrono::milliseconds(50);

// Clients' mistakes are answered with a status, and must not fill the log besides. GRPC_VERBOSITY brings
// gRPC's own messages back.
void SilenceLibraries() {
  google::protobuf::SetLogHandler(nullptr);
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
}

absl::Status CheckRange(const char* name, int64_t value, int64_t most) {
  if (value >= 1 && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, ": is ", value, ", expected 1 to ", most));
}

}  // namespace

RpcServer::RpcServer(Options options) : options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Create(Options options) {
  RETURN_IF_ERROR(
      CheckRange("max_message_bytes", options.max_message_bytes, std::numeric_limits<int32_t>::max()));
  RETURN_IF_ERROR(CheckRange("streams_per_connection", options.streams_per_connection,
                             std::numeric_limits<int32_t>::max()));
  RETURN_IF_ERROR(CheckRange("connections", options.connections, std::numeric_limits<int32_t>::max()));
  RETURN_IF_ERROR(CheckRange("connections_per_address", options.connections_per_address,
                             std::numeric_limits<int32_t>::max()));
  std::unique_ptr<RpcServer> server(new RpcServer(std::move(options)));
  RETURN_IF_ERROR(server->Listen());
  return server;
}

absl::Status RpcServer::Listen() {
  absl::StatusOr<std::unique_ptr<Listener>> listener = Listener::Open(options_.address);
  if (!listener.ok())
    return absl::UnavailableError(
        absl::StrCat("address '", options_.address, "': cannot listen there: ", listener.status().message(),
                     ", expected a free host:port of this machine or unix:/path in a folder that exists"));
  address_ = (*listener)->address();
  port_ = (*listener)->port();
  answers_ = std::make_unique<Answers>(Answers::Options{.time_limit = options_.answer_time,
                                                        .limit_bytes = options_.inflight_bytes / 2,
                                                        .metrics = &options_.metrics->answers});
  service_ = NewInferenceService(
      {.registry = options_.registry,
       .scheduler = options_.scheduler,
       .metrics = options_.metrics,
       .clock = options_.clock,
       .access = options_.access,
       .answers = answers_.get(),
       .answer_bytes_per_connection = options_.inflight_bytes / 4,
       .on_request = [this](const std::string& client,
                            int64_t bytes) { connections_->HasAsked(client, bytes); },
       .on_taken_back = [this](const std::string& client) { connections_->HasTakenBack(client); },
       .open_calls = &open_calls_,
       .access_log = options_.access_log},
      serving_);
  SilenceLibraries();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.RegisterService(service_.get());
  if (options_.reflection) {
    reflection_ = NewReflectionService();
    builder.RegisterService(reflection_.get());
  }
  credentials_ = options_.certificates == nullptr
                     ? grpc::InsecureServerCredentials()
                     : TlsCredentials(options_.certificates, options_.require_client_certificates);
  using ConnectionType = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  const std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> door =
      builder.experimental().AddExternalConnectionAcceptor(ConnectionType::FROM_FD, credentials_);
  // What is read from sockets counts against it, from the first byte on.
  builder.SetResourceQuota(grpc::ResourceQuota("hachi").Resize(static_cast<size_t>(options_.received_bytes)));
  builder.SetMaxReceiveMessageSize(static_cast<int>(options_.max_message_bytes));
  // A compressed request is inflated whole before its size is looked at; nobody's tensors compress well
  // enough to be worth that hole.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options_.streams_per_connection);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  if (options_.connection_age > absl::ZeroDuration()) {
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                               static_cast<int>(absl::ToInt64Milliseconds(options_.connection_age)));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, kConnectionAgeGraceMs);
  }
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, kPingStrikes);
  builder.AddChannelArgument(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kReadChunkBytes);
  server_ = builder.BuildAndStart();
  if (!server_) return absl::InternalError("gRPC: its server does not start");
  SetServing(false);
  SetServing(kLiveness, true);
  for (const auto& version : options_.registry->AllVersions()) SetServing(version->name(), false);

  connections_ = std::make_unique<Connections>(
      *std::move(listener),
      Connections::Options{.limit = options_.connections,
                           .unasked_bytes = options_.received_bytes / 2,
                           .limit_per_address = options_.connections_per_address,
                           .serve =
                               [door](int descriptor) {
                                 grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters call;
                                 call.fd = descriptor;
                                 door->HandleNewConnection(&call);
                               },
                           .metrics = &options_.metrics->connections,
                           .on_stall = [this](bool stalled) { SetServing(kLiveness, !stalled); }});
  connections_->Start();
  return absl::OkStatus();
}

RpcServer::~RpcServer() {
  if (server_) Shutdown(absl::ZeroDuration());
}

void RpcServer::SetServing(bool serving) {
  serving_ = serving;
  SetServing("", serving);
}

void RpcServer::SetServing(const std::string& model, bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(model, serving);
}

void RpcServer::Shutdown(absl::Duration deadline) {
  serving_ = false;
  connections_->StopAccepting();  // gRPC would leave a connection open that comes too late
  server_->GetHealthCheckService()->Shutdown();
  // gRPC waits for every call, and a watcher never ends by itself.
  std::promise<void> down;
  std::thread ends_watchers([this, is_down = down.get_future()] {
    using Clock = std::chrono::steady_clock;
    Clock::time_point last_open = Clock::now();
    while (Clock::now() < last_open + kWatcherGrace && Clock::now() < cancel_at_.load()) {
      if (is_down.wait_for(kLookAgain) == std::future_status::ready) return;
      if (open_calls_ > 0) last_open = Clock::now();
    }
    grpc_server_cancel_all_calls(server_->c_server());
  });
  server_->Shutdown(absl::ToChronoTime(absl::Now() + deadline));
  down.set_value();
  ends_watchers.join();
}

void RpcServer::CancelCallsIn(absl::Duration at_most) {
  cancel_at_ = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(at_most);
}

}  // namespace hachi::server
