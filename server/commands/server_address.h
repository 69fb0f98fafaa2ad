#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/client/client.h"

namespace CLI {
class App;
}

namespace hachi::server {

// Where a server is, and how to get through its TLS, as the command line says.
struct ServerAddress {
  std::string address;
  std::string ca, certificate, key;  // files; without `ca` in the clear
};

// The options --address, --tls-ca, --tls-certificate and --tls-key. `server` outlives the parsing.
void AddServerAddress(CLI::App& app, ServerAddress& server);

// A client's options, files read. Errors are those of reading them.
absl::StatusOr<Client::Options> ClientOptionsOf(const ServerAddress& server);

}  // namespace hachi::server
