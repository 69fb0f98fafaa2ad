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

struct ServerConfig {
  std::string grpc_address = "0.0.0.0:8001";          // host:port (port 0: any free one) or unix:/path
  std::string metrics_address = "127.0.0.1:8002";     // likewise
  bool reflection = true;                             // clients may ask what methods there are
  absl::Duration drain_delay = absl::Seconds(5);      // between "not ready" and refusing new work
  absl::Duration drain_deadline = absl::Seconds(25);  // in-flight work is cancelled after this
  int64_t inflight_bytes = int64_t{256} << 20;
  int streams_per_connection = 256;
  int connections = 1024;                 // at once, to the gRPC address
  int connections_per_address = 512;      // of one IPv4 address or IPv6 /64
  std::optional<int> workers;             // nullopt: auto
  std::optional<int> threads_per_worker;  // nullopt: auto
  std::vector<ModelConfig> models;        // names are unique
};

// Reads and validates the whole configuration with every model directory it names; model directories are
// relative to the file's own. INVALID_ARGUMENT (or NOT_FOUND for a missing file) naming file, line and key.
absl::StatusOr<ServerConfig> ReadServerConfig(const std::filesystem::path& file);

}  // namespace hachi::server
