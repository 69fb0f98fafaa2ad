#include "server/commands/server_address.h"

#include <CLI/CLI.hpp>
#include <cstddef>

#include "engine/base/file.h"
#include "engine/base/status_macros.h"

namespace hachi::server {
namespace {

constexpr size_t kMaxPemBytes = size_t{1} << 20;

}  // namespace

void AddServerAddress(CLI::App& app, ServerAddress& server) {
  app.add_option("--address", server.address, "The server's host:port or unix:/path")->required();
  CLI::Option* const ca = app.add_option(
      "--tls-ca", server.ca, "Connects through TLS, to a server whose certificate this PEM signs");
  CLI::Option* const certificate =
      app.add_option("--tls-certificate", server.certificate, "Certificate to show the server, PEM")
          ->needs(ca);
  CLI::Option* const key = app.add_option("--tls-key", server.key, "Its key, PEM")->needs(certificate);
  certificate->needs(key);
}

absl::StatusOr<Client::Options> ClientOptionsOf(const ServerAddress& server) {
  Client::Options options{.address = server.address};
  if (server.ca.empty()) return options;
  options.tls.emplace();
  ASSIGN_OR_RETURN(options.tls->ca, ReadFile(server.ca, kMaxPemBytes));
  if (server.certificate.empty()) return options;
  ASSIGN_OR_RETURN(options.tls->certificate, ReadFile(server.certificate, kMaxPemBytes));
  ASSIGN_OR_RETURN(options.tls->key, ReadFile(server.key, kMaxPemBytes));
  return options;
}

}  // namespace hachi::server
