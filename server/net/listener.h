#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace hachi::server {

// Sockets that listen on an address, until destruction.
//
// Thread-compatible. Close from another thread needs a lock around it and whoever accepts.
class Listener {
 public:
  // `address` is host:port, [v6 address]:port or unix:/path; port 0 takes any free one. 0.0.0.0 and [::] take
  // connections of both families where the machine has both; a host name with several addresses listens on
  // each. A Unix socket that nobody listens on any more is replaced; one that somebody does, and a file that
  // is no socket, are left alone. UNAVAILABLE when the address can't be bound,
  // ALREADY_EXISTS when that is because somebody has it.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(const std::string& address);
  ~Listener();

  // As bound: "0.0.0.0:43210", "unix:/run/hachi.sock".
  const std::string& address() const { return address_; }
  int port() const { return port_; }  // 0 for a Unix socket

  // Non-blocking descriptors to accept from; empty after Close.
  std::span<const int> descriptors() const { return descriptors_; }

  // Stops listening: who connects is refused. A Unix socket's file goes, if it is still this one's.
  void Close();

 private:
  Listener() = default;
  absl::Status BindUnix(const std::string& path);
  absl::Status BindHost(const std::string& host, uint16_t port);
  absl::Status BindTo(const void* address, unsigned length, int family);

  std::string address_;
  int port_ = 0;
  std::vector<int> descriptors_;
  std::string path_;                 // of a Unix socket
  uint64_t device_ = 0, inode_ = 0;  // of its file
};

}  // namespace hachi::server
