#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/model_config.h"

namespace hachi::server {

// Certificates of an address, PEM files; read again when they change.
struct TlsConfig {
  enum class ClientCertificates { kRequire, kOptional, kNone };
  std::filesystem::path certificate, key;
  std::filesystem::path client_ca;  // who signs clients' certificates; empty: kNone
  ClientCertificates client_certificates = ClientCertificates::kRequire;
};

// A client by a name in its certificate or with its token, and what it may use.
struct ClientConfig {
  std::string name;
  std::vector<std::string> models;  // names; "*": every one
};

struct AuthConfig {
  std::vector<ClientConfig> clients;  // names are unique
  std::filesystem::path tokens;       // lines "NAME TOKEN"; empty: certificates alone say who a client is
};

// A load of files that are not known yet, in a process of its own.
struct TrialConfig {
  bool enabled = false;                 // default: where there is a cache
  std::optional<int64_t> memory_bytes;  // nullopt: what the server itself may use
  absl::Duration time = absl::Minutes(10);
  std::filesystem::path cache;  // folder that remembers files which went well; empty: none does
};

struct ServerConfig {
  std::string grpc_address = "0.0.0.0:8001";          // host:port (port 0: any free one) or unix:/path
  std::string metrics_address = "127.0.0.1:8002";     // likewise
  bool reflection = true;                             // clients may ask what methods there are
  absl::Duration drain_delay = absl::Seconds(5);      // between "not ready" and refusing new work
  absl::Duration drain_deadline = absl::Seconds(25);  // in-flight work is cancelled after this
  int64_t inflight_bytes = int64_t{256} << 20;
  int64_t received_bytes = int64_t{512} << 20;     // of requests that are still coming, at the least
  absl::Duration answer_time = absl::Seconds(20);  // until a client has to have taken its answer
  int streams_per_connection = 256;
  int connections = 1024;             // at once, to the gRPC address
  int connections_per_address = 512;  // of one IPv4 address or IPv6 /64
  absl::Duration connection_age;      // then clients are asked to connect anew; zero: never
  TrialConfig trial;
  std::filesystem::path guard_cache;      // folder that remembers what guards found; empty: none does
  std::optional<TlsConfig> tls;           // nullopt: none, clients and server talk in the clear
  std::optional<TlsConfig> metrics_tls;   // likewise, of the metrics page
  std::optional<AuthConfig> auth;         // nullopt: whoever may connect may use every model
  std::optional<int> workers;             // nullopt: auto
  std::optional<int> threads_per_worker;  // nullopt: auto
  std::vector<ModelConfig> models;        // names are unique
};

// Reads and validates the whole configuration with every model directory it names; model directories are
// relative to the file's own. INVALID_ARGUMENT (or NOT_FOUND for a missing file) naming file, line and key.
absl::StatusOr<ServerConfig> ReadServerConfig(const std::filesystem::path& file);

}  // namespace hachi::server
