#include "config/server_config.h"

#include <gmock/gmock.h>

#include <string>

#include "tests/config/files.h"
#include "tests/support/status_matchers.h"

namespace hachi::server {
namespace {

using ::testing::HasSubstr;

TEST(ReadServerConfigTest, AModelAloneLeavesEveryDefault) {
  const TempDir temp;
  temp.Write("models/digits/model.onnx");
  const auto config = ReadServerConfig(temp.Write("server.yaml", "models: [{dir: models/digits}]\n"));
  ASSERT_OK(config);
  EXPECT_EQ(config->grpc_address, "0.0.0.0:8001");
  EXPECT_EQ(config->metrics_address, "127.0.0.1:8002");
  EXPECT_EQ(config->drain_delay, absl::Seconds(5));
  EXPECT_EQ(config->drain_deadline, absl::Seconds(25));
  EXPECT_EQ(config->inflight_bytes, 268435456);
  EXPECT_EQ(config->received_bytes, 536870912);
  EXPECT_EQ(config->answer_time, absl::Seconds(20));
  EXPECT_EQ(config->streams_per_connection, 256);
  EXPECT_TRUE(config->reflection);
  EXPECT_EQ(config->connections, 1024);
  EXPECT_EQ(config->connections_per_address, 512);
  EXPECT_EQ(config->connection_age, absl::ZeroDuration());
  EXPECT_FALSE(config->trial.enabled);
  EXPECT_EQ(config->trial.memory_bytes, std::nullopt);
  EXPECT_EQ(config->trial.time, absl::Minutes(10));
  EXPECT_TRUE(config->trial.cache.empty());
  EXPECT_EQ(config->workers, std::nullopt);
  EXPECT_EQ(config->threads_per_worker, std::nullopt);
  ASSERT_EQ(config->models.size(), 1u);
  EXPECT_EQ(config->models[0].dir, temp.path() / "models/digits");
}

TEST(ReadServerConfigTest, ReadsEveryKey) {
  const TempDir temp;
  temp.Write("digits/model.onnx");
  const auto config = ReadServerConfig(temp.Write("server.yaml", R"(
server:
  grpc: unix:/run/hachi.sock
  metrics: localhost:0
  reflection: false
  drain: {delay: 0s, deadline: 1m}
  limits: {inflight_bytes: 1MiB, received_bytes: 1GiB, answer_time: 1s, streams_per_connection: 8, connections: 2, connections_per_address: 1,
           connection_age: 30m}
  trial: {enabled: false, memory: 2GiB, time: 30s, cache: known}
  guard: {cache: judged}
cpu: {workers: 2, threads_per_worker: auto}
models:
  - {dir: digits}
  - {dir: digits, name: digits-fp32, precision: fp32}
)"));
  ASSERT_OK(config);
  EXPECT_EQ(config->grpc_address, "unix:/run/hachi.sock");
  EXPECT_EQ(config->metrics_address, "localhost:0");
  EXPECT_EQ(config->drain_delay, absl::ZeroDuration());
  EXPECT_EQ(config->drain_deadline, absl::Minutes(1));
  EXPECT_EQ(config->inflight_bytes, 1 << 20);
  EXPECT_EQ(config->received_bytes, 1 << 30);
  EXPECT_EQ(config->answer_time, absl::Seconds(1));
  EXPECT_EQ(config->streams_per_connection, 8);
  EXPECT_EQ(config->connection_age, absl::Minutes(30));
  EXPECT_FALSE(config->trial.enabled);
  EXPECT_EQ(config->trial.memory_bytes, int64_t{2} << 30);
  EXPECT_EQ(config->trial.time, absl::Seconds(30));
  EXPECT_EQ(config->trial.cache, temp.path() / "known");
  EXPECT_EQ(config->guard_cache, temp.path() / "judged");
  EXPECT_FALSE(config->reflection);
  EXPECT_EQ(config->connections, 2);
  EXPECT_EQ(config->connections_per_address, 1);
  EXPECT_EQ(config->workers, 2);
  EXPECT_EQ(config->threads_per_worker, std::nullopt);
  ASSERT_EQ(config->models.size(), 2u);
  EXPECT_EQ(config->models[0].name, "digits");
  EXPECT_EQ(config->models[0].precision, Precision::kAuto);
  EXPECT_EQ(config->models[1].name, "digits-fp32");
  EXPECT_EQ(config->models[1].precision, Precision::kFp32);
}

TEST(ReadServerConfigTest, ReadsWhoMayConnectAndUseWhat) {
  const TempDir temp;
  temp.Write("digits/model.onnx");
  const auto config = ReadServerConfig(temp.Write("server.yaml", R"(
server:
  tls: {certificate: tls/server.pem, key: /run/key.pem, client_ca: ca.pem, client_certificates: optional}
  metrics_tls: {certificate: page.pem, key: page.key, client_certificates: none}
auth:
  clients:
    - {name: batch, models: [digits]}
    - {name: 'spiffe://prod/web', models: ['*']}
  tokens: tokens.txt
models: [{dir: digits}]
)"));
  ASSERT_OK(config);
  ASSERT_TRUE(config->tls);
  EXPECT_EQ(config->tls->certificate, temp.path() / "tls/server.pem");
  EXPECT_EQ(config->tls->key, "/run/key.pem");
  EXPECT_EQ(config->tls->client_ca, temp.path() / "ca.pem");
  EXPECT_EQ(config->tls->client_certificates, TlsConfig::ClientCertificates::kOptional);
  ASSERT_TRUE(config->metrics_tls);
  EXPECT_EQ(config->metrics_tls->certificate, temp.path() / "page.pem");
  EXPECT_EQ(config->metrics_tls->client_certificates, TlsConfig::ClientCertificates::kNone);
  ASSERT_TRUE(config->auth);
  ASSERT_EQ(config->auth->clients.size(), 2u);
  EXPECT_EQ(config->auth->clients[0].name, "batch");
  EXPECT_THAT(config->auth->clients[0].models, ::testing::ElementsAre("digits"));
  EXPECT_THAT(config->auth->clients[1].models, ::testing::ElementsAre("*"));
  EXPECT_EQ(config->auth->tokens, temp.path() / "tokens.txt");
}

TEST(ReadServerConfigTest, ACertificateAsksForClientsOnes) {
  const TempDir temp;
  temp.Write("digits/model.onnx");
  const auto read = [&](const std::string& text) {
    return ReadServerConfig(temp.Write("server.yaml", text + "models: [{dir: digits}]\n"));
  };
  EXPECT_THAT(
      read("server: {tls: {certificate: a, key: b}}\n"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr(":1: server.tls: no client_ca, expected one, or client_certificates: none")));
  const auto required = read("server: {tls: {certificate: a, key: b, client_ca: c}}\n");
  ASSERT_OK(required);
  EXPECT_EQ(required->tls->client_certificates, TlsConfig::ClientCertificates::kRequire);
  EXPECT_OK(read("server: {tls: {certificate: a, key: b, client_certificates: none}}\n"));
}

TEST(ReadServerConfigTest, WhoCouldNotBeKnownOrNamesNoModelIsAnError) {
  const TempDir temp;
  temp.Write("digits/model.onnx");
  const auto read = [&](const std::string& text) {
    return ReadServerConfig(temp.Write("server.yaml", text + "models: [{dir: digits}]\n")).status();
  };
  EXPECT_THAT(read("auth: {clients: [{name: a, models: [digits]}]}\n"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("auth: neither tokens nor server.tls.client_ca, expected one of both")));
  EXPECT_THAT(read("auth: {tokens: t, clients: [{name: a, models: [digit]}]}\n"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("auth: model 'digit' of client 'a', expected one of models, or *")));
  EXPECT_OK(read("auth: {tokens: t, clients: [{name: a, models: [digits]}]}\n"));
}

TEST(ReadServerConfigTest, LongFilesAreRefusedBeforeTheyAreParsed) {
  const TempDir temp;
  EXPECT_THAT(
      ReadServerConfig(temp.Write("server.yaml", std::string((256 << 10) + 1, '['))),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("262145 bytes, expected at most 262144")));
}

TEST(ReadServerConfigTest, AcceptsIpv6ForGrpc) {
  const TempDir temp;
  temp.Write("digits/model.onnx");
  const auto config =
      ReadServerConfig(temp.Write("server.yaml", "server: {grpc: '[::1]:0'}\nmodels: [{dir: digits}]\n"));
  ASSERT_OK(config);
  EXPECT_EQ(config->grpc_address, "[::1]:0");
}

// A wrong server.yaml beside a model directory `digits`, and the message after the file's path.
struct Refused {
  std::string yaml, message;
};

class ServerYamlTest : public ::testing::TestWithParam<Refused> {};

TEST_P(ServerYamlTest, IsRefusedNamingFileLineAndKey) {
  const TempDir temp;
  temp.Write("digits/model.onnx");
  const auto file = temp.Write("server.yaml", GetParam().yaml);
  EXPECT_THAT(ReadServerConfig(file),
              StatusIs(absl::StatusCode::kInvalidArgument, file.string() + GetParam().message));
}

constexpr char kAddressRule[] =
    ", expected host:port with a port from 0 to 65535, or unix: and a path of at most 107 bytes";

INSTANTIATE_TEST_SUITE_P(
    Errors, ServerYamlTest,
    ::testing::Values(
        Refused{"", ":1: no models, expected a list of at least one model"},
        Refused{"models: []\n", ":1: models: a list, expected a list of at least one model"},
        Refused{"models:\n", ":1: models: nothing, expected a list of at least one model"},
        Refused{"modles: []\n", ":1: modles: unknown key, expected one of server, cpu, auth, models"},
        Refused{"server: {port: 1}\n",
                ":1: server.port: unknown key, expected one of grpc, metrics, reflection, trial, tls, "
                "metrics_tls, drain, guard, limits"},
        Refused{"server: {grpc: 8001}\n", ":1: server.grpc: '8001'" + std::string(kAddressRule)},
        Refused{"server: {grpc: '0.0.0.0:65536'}\n",
                ":1: server.grpc: \"0.0.0.0:65536\"" + std::string(kAddressRule)},
        Refused{"server: {grpc: '0.0.0.0:-1'}\n",
                ":1: server.grpc: \"0.0.0.0:-1\"" + std::string(kAddressRule)},
        Refused{"server: {grpc: '::1:80'}\n", ":1: server.grpc: \"::1:80\"" + std::string(kAddressRule)},
        Refused{"server: {grpc: 'unix:'}\n", ":1: server.grpc: \"unix:\"" + std::string(kAddressRule)},
        Refused{"server: {metrics: 8002}\n", ":1: server.metrics: '8002'" + std::string(kAddressRule)},
        Refused{"server: {grpc: 'unix:/x', metrics: 'unix:/x'}\n",
                ":1: server: grpc unix:/x and metrics unix:/x, expected two addresses"},
        Refused{"server:\n  grpc: 0.0.0.0:80\n  metrics: 127.0.0.1:80\n",
                ":2: server: grpc 0.0.0.0:80 and metrics 127.0.0.1:80, expected two ports"},
        Refused{"server: {drain: 5s}\n", ":1: server.drain: '5s', expected a map"},
        Refused{"server: {drain: {delay: soon}}\n",
                ":1: server.drain.delay: 'soon', expected a duration from 0s to 24h, such as 5s or 2ms"},
        Refused{"server: {drain: {time: 1s}}\n",
                ":1: server.drain.time: unknown key, expected one of delay, deadline"},
        Refused{"server: {limits: {inflight_bytes: 256}}\n",
                ":1: server.limits.inflight_bytes: '256', expected a size from 1MiB to 4096GiB"},
        Refused{"server: {limits: {streams_per_connection: 0}}\n",
                ":1: server.limits.streams_per_connection: '0', expected a whole number from 1 to 65535"},
        Refused{"server: {limits: {streams: 1}}\n",
                ":1: server.limits.streams: unknown key, expected one of inflight_bytes, "
                "received_bytes, answer_time, connection_age, streams_per_connection, connections, "
                "connections_per_address"},
        Refused{"server: {limits: {connections: 0}}\n",
                ":1: server.limits.connections: '0', expected a whole number from 1 to 1048576"},
        Refused{"server: {tls: {certificate: a, client_ca: c}}\n",
                ":1: server.tls: no certificate or no key, expected both"},
        Refused{"server: {tls: {certificate: a, key: b, client_ca: c, client_certificates: none}}\n",
                ":1: server.tls: client_ca and client_certificates: none, expected one of both"},
        Refused{"auth: {}\n", ":1: auth: no clients, expected at least one"},
        Refused{"auth: {clients: [{models: [a]}]}\n",
                ":1: auth.clients[0]: no name, expected the name in a certificate or in the file of tokens"},
        Refused{"auth: {clients: [{name: a}, {name: a}]}\n",
                ":1: auth: client 'a' again, expected each once"},
        Refused{"cpu: {workers: 0}\n",
                ":1: cpu.workers: '0', expected auto or a whole number from 1 to 1024"},
        Refused{"cpu: {threads_per_worker: 010}\n",
                ":1: cpu.threads_per_worker: '010', expected auto or a whole number from 1 to 1024"},
        Refused{"cpu: {cores: 1}\n",
                ":1: cpu.cores: unknown key, expected one of workers, threads_per_worker"},
        Refused{"models: [digits]\n", ":1: models[0]: 'digits', expected a map"},
        Refused{"models:\n  - {name: x}\n", ":2: models[0]: no dir, expected a model directory"},
        Refused{"models: [{dir: ''}]\n", ":1: models[0].dir: \"\", expected a string"},
        Refused{"models: [{dir: digits, name: a b}]\n",
                ":1: models[0].name: 'a b', expected up to 128 letters, digits or any of . _ -"},
        Refused{"models: [{dir: digits, precision: half}]\n",
                ":1: models[0].precision: 'half', expected auto | int8 | int8_dynamic | int8_weights | bf16 "
                "| fp32"},
        Refused{"models: [{dir: digits, version: 1}]\n",
                ":1: models[0].version: unknown key, expected one of dir, name, precision"},
        Refused{"models:\n  - {dir: digits}\n  - {dir: digits}\n",
                ":3: models[1]: name 'digits' is taken by models[0], expected a name of its own"}));

// The examples list every key with its default.
TEST(ExamplesTest, AreValidAndSayTheDefaults) {
  const TempDir temp;
  const std::filesystem::path examples = std::filesystem::path(HACHI_SOURCE_DIR) / "config/examples";
  temp.Write("models/digits/model.onnx");
  temp.Write("models/digits/labels.txt");
  std::filesystem::copy_file(examples / "server.yaml", temp.path() / "server.yaml");
  std::filesystem::copy_file(examples / "model.yaml", temp.path() / "models/digits/model.yaml");
  const auto config = ReadServerConfig(temp.path() / "server.yaml");
  ASSERT_OK(config);
  const ServerConfig defaults;
  EXPECT_EQ(config->grpc_address, defaults.grpc_address);
  EXPECT_EQ(config->metrics_address, defaults.metrics_address);
  EXPECT_EQ(config->drain_delay, defaults.drain_delay);
  EXPECT_EQ(config->drain_deadline, defaults.drain_deadline);
  EXPECT_EQ(config->inflight_bytes, defaults.inflight_bytes);
  EXPECT_EQ(config->received_bytes, defaults.received_bytes);
  EXPECT_EQ(config->answer_time, defaults.answer_time);
  EXPECT_EQ(config->streams_per_connection, defaults.streams_per_connection);
  EXPECT_EQ(config->reflection, defaults.reflection);
  EXPECT_EQ(config->connections, defaults.connections);
  EXPECT_EQ(config->connections_per_address, defaults.connections_per_address);
  EXPECT_EQ(config->workers, defaults.workers);
  EXPECT_EQ(config->threads_per_worker, defaults.threads_per_worker);
  ASSERT_EQ(config->models.size(), 2u);
  const BatchingConfig batching;
  EXPECT_EQ(config->models[0].name, "digits");
  EXPECT_EQ(config->models[0].precision, Precision::kAuto);
  EXPECT_EQ(config->models[0].batching.max_batch_rows, batching.max_batch_rows);
  EXPECT_EQ(config->models[0].batching.max_delay, batching.max_delay);
  EXPECT_EQ(config->models[0].batching.max_queue_rows, batching.max_queue_rows);
  EXPECT_EQ(config->models[0].instances, std::nullopt);
  EXPECT_EQ(config->models[1].name, "digits-fp32");
}

TEST(ReadServerConfigTest, AMissingFileIsNotFound) {
  EXPECT_THAT(
      ReadServerConfig("/nowhere/server.yaml"),
      StatusIs(absl::StatusCode::kNotFound, "file '/nowhere/server.yaml': not found, expected a file"));
}

TEST(ReadServerConfigTest, AMissingModelDirectoryIsNotFoundAtItsLine) {
  const TempDir temp;
  const auto file = temp.Write("server.yaml", "models:\n  - dir: gone\n");
  EXPECT_THAT(ReadServerConfig(file),
              StatusIs(absl::StatusCode::kNotFound, file.string() + ":2: models[0].dir: model directory '" +
                                                        (temp.path() / "gone").string() +
                                                        "': not found, expected a directory"));
}

TEST(ReadServerConfigTest, AnErrorInAModelFileNamesBothFiles) {
  const TempDir temp;
  temp.Write("digits/model.onnx");
  const auto model = temp.Write("digits/model.yaml", "\nname: /\n");
  const auto file = temp.Write("server.yaml", "models: [{dir: digits}]\n");
  EXPECT_THAT(ReadServerConfig(file),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       file.string() + ":1: models[0].dir: " + model.string() +
                           ":2: name: '/', expected up to 128 letters, digits or any of . _ -"));
}

}  // namespace
}  // namespace hachi::server
