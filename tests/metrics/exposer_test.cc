#include "server/metrics/exposer.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "tests/support/status_matchers.h"

namespace hachi::server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// The whole answer to a GET, status line included; empty when nobody listens.
std::string Get(const std::string& address, const std::string& path) {
  sockaddr_in to = {
      .sin_family = AF_INET,
      .sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.find(':') + 1)))),
      .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0) {
    const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    char block[4096];
    for (ssize_t got; (got = read(fd, block, sizeof(block))) > 0;)
      answer.append(block, static_cast<size_t>(got));
  }
  close(fd);
  return answer;
}

TEST(ExposerTest, ServesThePageOnAFreePort) {
  Metrics metrics;
  metrics.server().cpu_budget.Set(7);
  const auto exposer = Exposer::Create("127.0.0.1:0", metrics);
  ASSERT_OK(exposer);
  EXPECT_THAT((*exposer)->address(), StartsWith("127.0.0.1:"));
  EXPECT_NE((*exposer)->address(), "127.0.0.1:0");
  const std::string answer = Get((*exposer)->address(), "/metrics");
  EXPECT_THAT(answer, HasSubstr(" 200 OK"));
  EXPECT_THAT(answer, HasSubstr("text/plain"));
  EXPECT_THAT(answer, HasSubstr("\nhachi_cpu_budget 7\n"));
  EXPECT_THAT(Get((*exposer)->address(), "/"), HasSubstr(" 404 "));
}

TEST(ExposerTest, HostNamesServeUntilDestruction) {
  const Metrics metrics;
  std::string address;
  {
    const auto exposer = Exposer::Create("localhost:0", metrics);
    ASSERT_OK(exposer);
    address = (*exposer)->address();
    EXPECT_THAT(address, StartsWith("localhost:"));
    EXPECT_THAT(Get(address, "/metrics"), HasSubstr("hachi_build_info"));
  }
  EXPECT_EQ(Get(address, "/metrics"), "");
  EXPECT_OK(Exposer::Create(address, metrics));
}

TEST(ExposerTest, AddressThatCannotBeBoundIsUnavailable) {
  const Metrics metrics;
  const auto first = Exposer::Create("127.0.0.1:0", metrics);
  ASSERT_OK(first);
  const std::string& taken = (*first)->address();
  EXPECT_THAT(Exposer::Create(taken, metrics), StatusIs(absl::StatusCode::kUnavailable, HasSubstr(taken)));
  EXPECT_THAT(Exposer::Create("192.0.2.1:0", metrics), StatusIs(absl::StatusCode::kUnavailable));
}

TEST(ExposerTest, WhatIsNoAddressIsInvalid) {
  const Metrics metrics;
  for (const std::string address :
       {"", ":0", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:80x", "[::1]:0",
        "::1:0", "127.0.0.1:0s", "+127.0.0.1:0", "127.0.0.1:0,127.0.0.2:0", "a b:0", "unix:/tmp/x"}) {
    EXPECT_THAT(Exposer::Create(address, metrics),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'" + address + "'")));
  }
}

}  // namespace
}  // namespace hachi::server
