#include "server/net/listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <filesystem>
#include <string>

#include "tests/net/sockets.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi::server {
namespace {

using ::testing::HasSubstr;

TEST(ListenerTest, PortZeroIsAFreeOne) {
  for (const std::string host : {"127.0.0.1", "0.0.0.0", "localhost"}) {
    const auto listener = Listener::Open(host + ":0");
    ASSERT_OK(listener);
    EXPECT_NE((*listener)->port(), 0);
    EXPECT_EQ((*listener)->address(), host + ":" + std::to_string((*listener)->port()));
    EXPECT_TRUE(ClientSocket((*listener)->address()).connected()) << host;
  }
}

TEST(ListenerTest, CloseRefusesWhoConnects) {
  const auto listener = Listener::Open("127.0.0.1:0");
  ASSERT_OK(listener);
  (*listener)->Close();
  EXPECT_TRUE((*listener)->descriptors().empty());
  EXPECT_FALSE(ClientSocket((*listener)->address()).connected());
}

TEST(ListenerTest, TakenAddressIsAnError) {
  const auto first = Listener::Open("127.0.0.1:0");
  ASSERT_OK(first);
  EXPECT_THAT(Listener::Open((*first)->address()), StatusIs(absl::StatusCode::kAlreadyExists));
}

TEST(ListenerTest, WhatIsNoAddressOfThisMachineIsAnError) {
  for (const std::string address : {"", ":1", "nonsense", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x",
                                    "256.0.0.1:1", "192.0.2.1:1", "unix:", "unix:/nonexistent/folder/socket"})
    EXPECT_THAT(Listener::Open(address), StatusIs(absl::StatusCode::kUnavailable)) << address;
}

TEST(ListenerTest, LivingUnixSocketIsNotStolen) {
  const TempDir dir;
  const std::string address = "unix:" + (dir.path() / "socket").string();
  const auto first = Listener::Open(address);
  ASSERT_OK(first);
  EXPECT_THAT(Listener::Open(address),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("another server listens there")));
  EXPECT_TRUE(ClientSocket(address).connected());
}

TEST(ListenerTest, UnixSocketWithAFullBacklogIsAlive) {
  const TempDir dir;
  const std::string address = "unix:" + (dir.path() / "socket").string();
  const auto first = Listener::Open(address);
  ASSERT_OK(first);
  listen((*first)->descriptors()[0], 0);
  const ClientSocket waiting(address);
  EXPECT_THAT(Listener::Open(address), StatusIs(absl::StatusCode::kAlreadyExists));
}

TEST(ListenerTest, DeadUnixSocketIsReplaced) {
  const TempDir dir;
  const std::string path = dir.path() / "socket";
  // As a process that was killed leaves it.
  const int dead = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = {}};
  path.copy(at.sun_path, sizeof(at.sun_path) - 1);
  ASSERT_EQ(bind(dead, reinterpret_cast<const sockaddr*>(&at), sizeof(at)), 0);
  close(dead);
  ASSERT_TRUE(std::filesystem::exists(path));
  const auto listener = Listener::Open("unix:" + path);
  ASSERT_OK(listener);
  EXPECT_TRUE(ClientSocket("unix:" + path).connected());
}

TEST(ListenerTest, FileInTheSocketsPlaceStays) {
  const TempDir dir;
  const std::string path = dir.Write("socket", "precious");
  EXPECT_THAT(Listener::Open("unix:" + path),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("is a file")));
  EXPECT_TRUE(std::filesystem::is_regular_file(path));
}

TEST(ListenerTest, UnixSocketGoesWithItsOwnListener) {
  const TempDir dir;
  const std::filesystem::path path = dir.path() / "socket";
  auto first = Listener::Open("unix:" + path.string());
  ASSERT_OK(first);
  std::filesystem::rename(path, dir.path() / "away");
  auto second = Listener::Open("unix:" + path.string());
  ASSERT_OK(second);
  first->reset();
  EXPECT_TRUE(std::filesystem::exists(path));
  second->reset();
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace hachi::server
