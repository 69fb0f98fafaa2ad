#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace hachi::server {

// The client's end of a connection to an address of this machine: "127.0.0.1:1234", "unix:/path".
//
// Thread-compatible.
class ClientSocket {
 public:
  explicit ClientSocket(const std::string& address) : is_unix_(address.starts_with("unix:")) {
    descriptor_ = socket(is_unix_ ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    Connect(address);
  }
  ClientSocket(ClientSocket&& other) noexcept
      : is_unix_(other.is_unix_),
        descriptor_(std::exchange(other.descriptor_, -1)),
        connected_(other.connected_) {}
  ~ClientSocket() { Close(); }

  // A TCP socket that is not connected yet.
  static ClientSocket Unconnected() { return ClientSocket(); }
  void Connect(const std::string& address) {
    if (is_unix_) {
      sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = {}};
      address.copy(to.sun_path, sizeof(to.sun_path) - 1, 5);
      connected_ = connect(descriptor_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0;
    } else {
      const sockaddr_in to = {
          .sin_family = AF_INET,
          .sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)))),
          .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
      connected_ = connect(descriptor_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0;
    }
  }

  bool connected() const { return connected_; }

  // As a server names it.
  std::string name() const {
    sockaddr_in own = {};
    socklen_t length = sizeof(own);
    getsockname(descriptor_, reinterpret_cast<sockaddr*>(&own), &length);
    return "ipv4:127.0.0.1:" + std::to_string(ntohs(own.sin_port));
  }

  void Send(const std::string& bytes) const {
    EXPECT_EQ(send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL), std::ssize(bytes));
  }

  // All bytes until the other end closes; nothing when `milliseconds` pass without any.
  std::optional<std::string> ReadAll(int milliseconds = 10'000) const {
    std::string all;
    char block[4096];
    pollfd poll_for = {.fd = descriptor_, .events = POLLIN, .revents = 0};
    while (poll(&poll_for, 1, milliseconds) == 1) {
      const ssize_t got = read(descriptor_, block, sizeof(block));
      if (got <= 0) return all;
      all.append(block, static_cast<size_t>(got));
    }
    return std::nullopt;
  }

  bool IsClosedByPeer() const { return ReadAll().has_value(); }
  bool IsOpen() const { return !ReadAll(/*milliseconds=*/0).has_value(); }

  // Ends the connection in both directions at once.
  void Reset() {
    const linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    Close();
  }

  void Close() {
    if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
  }

 private:
  ClientSocket() : is_unix_(false), descriptor_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}

  const bool is_unix_;
  int descriptor_ = -1;
  bool connected_ = false;
};

}  // namespace hachi::server
