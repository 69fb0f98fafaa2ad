#include "config/server_config.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "config/types.h"
#include "config/yaml.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"

namespace hachi::server {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kUnix = "unix:";

struct HostPort {
  std::string_view host;
  int port;
};

// "host:port" or "[v6 address]:port", with a port from 0 to 65535.
std::optional<HostPort> ParseHostPort(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const std::string_view host = address.substr(0, colon), port = address.substr(colon + 1);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  const std::string_view inner = bracketed ? host.substr(1, host.size() - 2) : host;
  if (inner.find_first_of(bracketed ? "[]/ " : "[]/: ") != std::string_view::npos) return std::nullopt;
  int number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number < 0 || number > 65535)
    return std::nullopt;
  return HostPort{host, number};
}

absl::StatusOr<std::string> Address(const YamlNode& node) {
  constexpr size_t kMaxSocketPath = 107;  // sockaddr_un
  if (node.kind == YamlNode::Kind::kScalar) {
    if (node.text.starts_with(kUnix)) {
      const size_t length = node.text.size() - kUnix.size();
      if (length > 0 && length <= kMaxSocketPath) return node.text;
    } else if (ParseHostPort(node.text)) {
      return node.text;
    }
  }
  return node.Unexpected("host:port with a port from 0 to 65535, or unix: and a path of at most 107 bytes");
}

bool IsEveryHost(std::string_view host) { return host == "0.0.0.0" || host == "[::]"; }

absl::Status CheckAddressesDiffer(const YamlNode& node, const ServerConfig& config) {
  constexpr char kExpected[] = "two addresses";
  const std::string found =
      absl::StrCat("grpc ", config.grpc_address, " and metrics ", config.metrics_address);
  if (config.grpc_address == config.metrics_address && config.grpc_address.starts_with(kUnix))
    return node.Error(found, kExpected);
  const auto grpc = ParseHostPort(config.grpc_address), metrics = ParseHostPort(config.metrics_address);
  const bool clash = grpc && metrics && grpc->port == metrics->port && grpc->port != 0 &&
                     (grpc->host == metrics->host || IsEveryHost(grpc->host) || IsEveryHost(metrics->host));
  if (!clash) return absl::OkStatus();
  return node.Error(found, "two ports");
}

YamlType<fs::path> PathType(const fs::path& base) {
  return [base](const YamlNode& node) -> absl::StatusOr<fs::path> {
    ASSIGN_OR_RETURN(const std::string name, YamlString()(node));
    return base / name;
  };
}

absl::StatusOr<TlsConfig> ReadTls(const YamlNode& node, const fs::path& base) {
  using Clients = TlsConfig::ClientCertificates;
  TlsConfig tls;
  RETURN_IF_ERROR(ReadYamlMap(
      node, {Into("certificate", tls.certificate, PathType(base)), Into("key", tls.key, PathType(base)),
             Into("client_ca", tls.client_ca, PathType(base)),
             Into("client_certificates", tls.client_certificates,
                  YamlEnum<Clients>({{"require", Clients::kRequire},
                                     {"optional", Clients::kOptional},
                                     {"none", Clients::kNone}}))}));
  if (tls.certificate.empty() || tls.key.empty()) return node.Error("no certificate or no key", "both");
  if (tls.client_ca.empty() && tls.client_certificates != Clients::kNone)
    return node.Error("no client_ca", "one, or client_certificates: none");
  if (!tls.client_ca.empty() && tls.client_certificates == Clients::kNone)
    return node.Error("client_ca and client_certificates: none", "one of both");
  return tls;
}

absl::StatusOr<TrialConfig> ReadTrial(const YamlNode& node, const fs::path& base) {
  TrialConfig trial;
  std::optional<bool> enabled;
  RETURN_IF_ERROR(ReadYamlMap(
      node, {Into("enabled", enabled, YamlBool()),
             Into("memory", trial.memory_bytes, YamlBytes(int64_t{1} << 20, int64_t{1} << 50)),
             Into("time", trial.time, YamlDuration()), Into("cache", trial.cache, PathType(base))}));
  trial.enabled = enabled.value_or(!trial.cache.empty());
  return trial;
}

absl::StatusOr<ClientConfig> ReadClient(const YamlNode& node) {
  ClientConfig client;
  RETURN_IF_ERROR(ReadYamlMap(node, {Into("name", client.name, YamlString()),
                                     Into("models", client.models, YamlList(YamlString()))}));
  if (client.name.empty()) return node.Error("no name", "the name in a certificate or in the file of tokens");
  return client;
}

absl::StatusOr<AuthConfig> ReadAuth(const YamlNode& node, const fs::path& base) {
  AuthConfig auth;
  RETURN_IF_ERROR(
      ReadYamlMap(node, {Into("clients", auth.clients, YamlList(YamlType<ClientConfig>(ReadClient))),
                         Into("tokens", auth.tokens, PathType(base))}));
  if (auth.clients.empty()) return node.Error("no clients", "at least one");
  std::set<std::string> names;
  for (const ClientConfig& client : auth.clients)
    if (!names.insert(client.name).second)
      return node.Error(absl::StrCat("client '", client.name, "' again"), "each once");
  return auth;
}

// What `auth` says against the rest, once all is read.
absl::Status CheckAuth(const YamlNode& root, const ServerConfig& config) {
  if (!config.auth) return absl::OkStatus();
  if (config.auth->tokens.empty() && (!config.tls || config.tls->client_ca.empty()))
    return root.Error("auth: neither tokens nor server.tls.client_ca",
                      "one of both, or nobody could be known");
  for (const ClientConfig& client : config.auth->clients)
    for (const std::string& model : client.models)
      if (model != "*" && std::ranges::find(config.models, model, &ModelConfig::name) == config.models.end())
        return root.Error(absl::StrCat("auth: model '", model, "' of client '", client.name, "'"),
                          "one of models, or *");
  return absl::OkStatus();
}

absl::Status ReadServerSection(const YamlNode& node, const fs::path& base, ServerConfig& config) {
  constexpr int64_t kLeastInflight = int64_t{1} << 20, kMostInflight = int64_t{1} << 42;
  constexpr int64_t kLeastReceived = int64_t{128} << 20;  // two of the largest messages
  const auto drain = [&](const YamlNode& value) {
    return ReadYamlMap(value, {Into("delay", config.drain_delay, YamlDuration()),
                               Into("deadline", config.drain_deadline, YamlDuration())});
  };
  const auto limits = [&](const YamlNode& value) {
    return ReadYamlMap(
        value, {Into("inflight_bytes", config.inflight_bytes, YamlBytes(kLeastInflight, kMostInflight)),
                Into("received_bytes", config.received_bytes, YamlBytes(kLeastReceived, kMostInflight)),
                Into("answer_time", config.answer_time, YamlDuration()),
                Into("connection_age", config.connection_age, YamlDuration()),
                Into("streams_per_connection", config.streams_per_connection, YamlInteger(1, 65535)),
                Into("connections", config.connections, YamlInteger(1, 1 << 20)),
                Into("connections_per_address", config.connections_per_address, YamlInteger(1, 1 << 20))});
  };
  const auto guard = [&](const YamlNode& value) {
    return ReadYamlMap(value, {Into("cache", config.guard_cache, PathType(base))});
  };
  const YamlType<TlsConfig> tls = [&](const YamlNode& value) { return ReadTls(value, base); };
  RETURN_IF_ERROR(ReadYamlMap(
      node, {Into("grpc", config.grpc_address, YamlType<std::string>(Address)),
             Into("metrics", config.metrics_address, YamlType<std::string>(Address)),
             Into("reflection", config.reflection, YamlBool()),
             Into("trial", config.trial,
                  YamlType<TrialConfig>([&](const YamlNode& value) { return ReadTrial(value, base); })),
             Into("tls", config.tls, tls),
             Into("metrics_tls", config.metrics_tls, tls),
             {"drain", drain},
             {"guard", guard},
             {"limits", limits}}));
  return CheckAddressesDiffer(node, config);
}

absl::StatusOr<ModelConfig> ReadModelEntry(const YamlNode& node, const fs::path& base) {
  std::string dir, name;
  std::optional<Precision> precision;
  const YamlNode* dir_node = nullptr;
  const auto read_dir = [&](const YamlNode& value) -> absl::Status {
    dir_node = &value;
    ASSIGN_OR_RETURN(dir, YamlString()(value));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(ReadYamlMap(node, {{"dir", read_dir},
                                     Into("name", name, ModelNameType()),
                                     Into("precision", precision, PrecisionType())}));
  if (dir_node == nullptr) return node.Error("no dir", "a model directory");
  auto model = ReadModelDirectory(base / dir);
  if (!model.ok()) return WithContext(model.status(), absl::StrCat(dir_node->where, ": ", dir_node->key));
  if (!name.empty()) model->name = name;
  if (precision) model->precision = *precision;
  return model;
}

absl::Status ReadModels(const YamlNode& node, const fs::path& base, std::vector<ModelConfig>& models) {
  if (node.kind != YamlNode::Kind::kList || node.items.empty())
    return node.Unexpected("a list of at least one model");
  std::map<std::string, const YamlNode*> names;
  for (const YamlNode& item : node.items) {
    ASSIGN_OR_RETURN(ModelConfig model, ReadModelEntry(item, base));
    const auto [first, fresh] = names.emplace(model.name, &item);
    if (!fresh)
      return item.Error(absl::StrCat("name '", model.name, "' is taken by ", first->second->key),
                        "a name of its own");
    models.push_back(std::move(model));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ServerConfig> ReadServerConfig(const fs::path& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxConfigBytes));
  ASSIGN_OR_RETURN(const YamlNode root, ParseYaml(text, file.string()));
  const fs::path base = file.parent_path();
  ServerConfig config;
  RETURN_IF_ERROR(ReadYamlMap(
      root, {{"server", [&](const YamlNode& node) { return ReadServerSection(node, base, config); }},
             {"cpu",
              [&](const YamlNode& node) {
                return ReadYamlMap(node,
                                   {Into("workers", config.workers, CountType()),
                                    Into("threads_per_worker", config.threads_per_worker, CountType())});
              }},
             Into("auth", config.auth,
                  YamlType<AuthConfig>([&](const YamlNode& node) { return ReadAuth(node, base); })),
             {"models", [&](const YamlNode& node) { return ReadModels(node, base, config.models); }}}));
  if (config.models.empty()) return root.Error("no models", "a list of at least one model");
  RETURN_IF_ERROR(CheckAuth(root, config));
  return config;
}

}  // namespace hachi::server
