#include "server/net/exposer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/net/sockets.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi::server {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// The whole answer to a request, status line included; empty when nobody listens.
std::string Ask(const std::string& address, const std::string& request) {
  const ClientSocket client(address);
  if (!client.connected()) return "";
  client.Send(request);
  return client.ReadAll().value_or("");
}

std::string Get(const std::string& address, const std::string& path) {
  return Ask(address, "GET " + path + " HTTP/1.0\r\n\r\n");
}

TEST(ExposerTest, ServesThePageOnAFreePort) {
  Metrics metrics;
  metrics.server().cpu_budget.Set(7);
  const auto exposer = Exposer::Create("127.0.0.1:0", metrics);
  ASSERT_OK(exposer);
  EXPECT_THAT((*exposer)->address(), StartsWith("127.0.0.1:"));
  EXPECT_NE((*exposer)->address(), "127.0.0.1:0");
  for (const std::string path : {"/metrics", "/metrics?name[]=x"}) {
    const std::string answer = Get((*exposer)->address(), path);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    EXPECT_THAT(answer, HasSubstr("\nhachi_cpu_budget 7\n"));
    const size_t body = answer.find("\r\n\r\n") + 4;
    EXPECT_THAT(answer, HasSubstr("\r\nContent-Length: " + std::to_string(answer.size() - body) + "\r\n"));
  }
}

TEST(ExposerTest, WhatIsNotThePageIsRefused) {
  const Metrics metrics;
  const auto exposer = Exposer::Create("127.0.0.1:0", metrics);
  ASSERT_OK(exposer);
  const std::string& address = (*exposer)->address();
  EXPECT_THAT(Get(address, "/"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Get(address, "/metrics/../etc/passwd"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Ask(address, "POST /metrics HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(Ask(address, "PRI * HTTP/2.0\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Ask(address, "nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Ask(address, "\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Ask(address, std::string(8192, 'x')), StartsWith("HTTP/1.1 431 "));
  const std::string head = Ask(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 OK"));
  EXPECT_THAT(head, EndsWith("\r\n\r\n"));
}

TEST(ExposerTest, OtherPagesAreAskedForByTheirPath) {
  const Metrics metrics;
  const auto exposer = Exposer::Create(
      "127.0.0.1:0", metrics, /*tls=*/nullptr, [](std::string_view path) -> std::optional<HttpPage> {
        if (path != "/") return std::nullopt;
        return HttpPage{.type = "text/html", .headers = "X-Own: 1\r\n", .body = "<p>"};
      });
  ASSERT_OK(exposer);
  EXPECT_EQ(Get((*exposer)->address(), "/?query"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\nX-Own: 1\r\n"
            "Connection: close\r\n\r\n<p>");
  EXPECT_THAT(Ask((*exposer)->address(), "HEAD / HTTP/1.1\r\n\r\n"), EndsWith("close\r\n\r\n"));
  EXPECT_THAT(Get((*exposer)->address(), "/else"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Get((*exposer)->address(), "/metrics"), HasSubstr("hachi_build_info"));
}

TEST(ExposerTest, RequestMayComeInPieces) {
  const Metrics metrics;
  const auto exposer = Exposer::Create("127.0.0.1:0", metrics);
  ASSERT_OK(exposer);
  const ClientSocket client((*exposer)->address());
  for (const std::string piece : {"GET /met", "rics HTTP/1.1\r\nHost: ", "x\r\n", "\r\n"}) {
    client.Send(piece);
    std::this_thread::yield();
  }
  EXPECT_THAT(client.ReadAll().value_or(""), HasSubstr("hachi_build_info"));
}

TEST(ExposerTest, SlowAndSilentClientsKeepNobodyFromThePage) {
  const Metrics metrics;
  const auto exposer = Exposer::Create("127.0.0.1:0", metrics);
  ASSERT_OK(exposer);
  std::vector<ClientSocket> others;
  for (int i = 0; i < 200; ++i) {
    others.emplace_back((*exposer)->address());
    if (i % 2 == 0) others.back().Send("GET /metrics HT");
  }
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(Get((*exposer)->address(), "/metrics"), HasSubstr("hachi_build_info"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
}

TEST(ExposerTest, ClientsThatDoNotReadKeepNobodyFromThePage) {
  Metrics metrics;
  // A page that the sockets' buffers do not hold.
  std::vector<std::unique_ptr<ModelMetrics>> models;
  for (int i = 0; i < 200; ++i) models.push_back(metrics.ForModel("model-" + std::to_string(i), 1));
  const auto exposer = Exposer::Create("127.0.0.1:0", metrics);
  ASSERT_OK(exposer);
  std::vector<ClientSocket> others;
  for (int i = 0; i < 40; ++i) {
    others.emplace_back((*exposer)->address());
    others.back().Send("GET /metrics HTTP/1.1\r\n\r\n");
  }
  const std::string page = Get((*exposer)->address(), "/metrics");
  EXPECT_THAT(page, HasSubstr("model-199"));
  EXPECT_THAT(page, HasSubstr("hachi_build_info"));
}

TEST(ExposerTest, ReadersOfLargePagesKeepNoScrapeOut) {
  const Metrics metrics;
  const std::string large(size_t{4} << 20, 'x');  // more than the sockets' buffers hold
  const auto exposer = Exposer::Create("127.0.0.1:0", metrics, /*tls=*/nullptr, [&](std::string_view) {
    return HttpPage{.type = "text/plain", .body = large};
  });
  ASSERT_OK(exposer);
  std::vector<ClientSocket> others;
  for (int i = 0; i < 40; ++i) {
    others.emplace_back((*exposer)->address());
    others.back().Send("GET /reports/m/1 HTTP/1.1\r\n\r\n");
  }
  EXPECT_THAT(Get((*exposer)->address(), "/metrics"), HasSubstr("hachi_build_info"));
}

TEST(ExposerTest, ClientThatAsksNothingIsGoneAfterTwoSeconds) {
  const Metrics metrics;
  const auto exposer = Exposer::Create("127.0.0.1:0", metrics);
  ASSERT_OK(exposer);
  const ClientSocket silent((*exposer)->address());
  EXPECT_EQ(silent.ReadAll(/*milliseconds=*/4000), "");
}

TEST(ExposerTest, UnixSocketsAndHostNamesServeUntilDestruction) {
  const Metrics metrics;
  const TempDir dir;
  for (const std::string& wanted : {std::string("localhost:0"), "unix:" + (dir.path() / "socket").string()}) {
    std::string address;
    {
      const auto exposer = Exposer::Create(wanted, metrics);
      ASSERT_OK(exposer);
      address = (*exposer)->address();
      EXPECT_THAT(Get(address, "/metrics"), HasSubstr("hachi_build_info"));
    }
    EXPECT_EQ(Get(address, "/metrics"), "");
    EXPECT_OK(Exposer::Create(address, metrics));
  }
}

TEST(ExposerTest, AddressThatCannotBeBoundIsUnavailable) {
  const Metrics metrics;
  const auto first = Exposer::Create("127.0.0.1:0", metrics);
  ASSERT_OK(first);
  const std::string& taken = (*first)->address();
  EXPECT_THAT(Exposer::Create(taken, metrics), StatusIs(absl::StatusCode::kUnavailable, HasSubstr(taken)));
  EXPECT_THAT(Exposer::Create("192.0.2.1:0", metrics), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Exposer::Create("127.0.0.1", metrics),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("'127.0.0.1'")));
}

}  // namespace
}  // namespace hachi::server
