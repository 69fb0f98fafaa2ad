#include "server/net/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi::server {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";

absl::Status Errno(const char* what) {
  const std::string message = absl::StrCat(what, ": ", std::strerror(errno));
  return errno == EADDRINUSE ? absl::AlreadyExistsError(message) : absl::UnavailableError(message);
}

// The port is in the same place in both families' addresses.
void SetPort(sockaddr& address, uint16_t port) {
  reinterpret_cast<sockaddr_in&>(address).sin_port = htons(port);
}
uint16_t PortOf(int descriptor) {
  sockaddr_storage own = {};
  socklen_t length = sizeof(own);
  getsockname(descriptor, reinterpret_cast<sockaddr*>(&own), &length);
  return ntohs(reinterpret_cast<sockaddr_in&>(own).sin_port);
}

bool IsEveryHost(std::string_view host) { return host == "0.0.0.0" || host == "[::]"; }

// Whether somebody listens on the Unix socket. Full or not: only a refusal says that nobody does.
bool IsAlive(const sockaddr_un& address) {
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return true;
  const int result = connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const bool refused = result != 0 && errno == ECONNREFUSED;
  close(probe);
  return !refused;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(const std::string& address) {
  std::unique_ptr<Listener> listener(new Listener);
  if (address.starts_with(kUnixPrefix)) {
    RETURN_IF_ERROR(listener->BindUnix(address.substr(kUnixPrefix.size())));
    listener->address_ = address;
    return listener;
  }
  const size_t colon = address.rfind(':');
  uint16_t port = 0;
  const char* const end = address.data() + address.size();
  if (colon == std::string::npos || colon == 0)
    return absl::UnavailableError("is no address, expected host:port or unix:/path");
  if (const auto [parsed_to, code] = std::from_chars(address.data() + colon + 1, end, port);
      code != std::errc() || parsed_to != end)
    return absl::UnavailableError("has no port from 0 to 65535");
  RETURN_IF_ERROR(listener->BindHost(address.substr(0, colon), port));
  listener->port_ = PortOf(listener->descriptors_.front());
  listener->address_ = absl::StrCat(address.substr(0, colon), ":", listener->port_);
  return listener;
}

Listener::~Listener() { Close(); }

void Listener::Close() {
  // The file first: who finds it gone is told more than who is refused.
  struct stat file;
  if (!path_.empty() && lstat(path_.c_str(), &file) == 0 && file.st_dev == device_ && file.st_ino == inode_)
    unlink(path_.c_str());
  path_.clear();
  for (const int descriptor : descriptors_) close(descriptor);
  descriptors_.clear();
}

absl::Status Listener::BindTo(const void* address, unsigned length, int family) {
  const int descriptor = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return Errno("socket");
  absl::Cleanup close_it = [descriptor] { close(descriptor); };
  const int on = 1, off = 0;
  if (family != AF_UNIX) {
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    // Connections inherit it.
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  if (family == AF_INET6) {
    const bool both = IN6_IS_ADDR_UNSPECIFIED(&static_cast<const sockaddr_in6*>(address)->sin6_addr);
    setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, both ? &off : &on, sizeof(on));
  }
  if (bind(descriptor, static_cast<const sockaddr*>(address), length) != 0) return Errno("bind");
  if (listen(descriptor, SOMAXCONN) != 0) return Errno("listen");
  std::move(close_it).Cancel();
  descriptors_.push_back(descriptor);
  return absl::OkStatus();
}

absl::Status Listener::BindUnix(const std::string& path) {
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  if (path.empty() || path.size() >= sizeof(address.sun_path))
    return absl::UnavailableError("is no path, expected one of at most 107 bytes");
  path.copy(address.sun_path, path.size());
  struct stat file;
  if (lstat(path.c_str(), &file) == 0) {
    if (!S_ISSOCK(file.st_mode))
      return absl::UnavailableError("is a file, expected a socket or nothing there");
    if (IsAlive(address)) return absl::AlreadyExistsError("another server listens there");
    if (unlink(path.c_str()) != 0) return Errno("unlink");
  }
  RETURN_IF_ERROR(BindTo(&address, sizeof(address), AF_UNIX));
  if (lstat(path.c_str(), &file) != 0) return Errno("lstat");
  path_ = path;
  device_ = file.st_dev;
  inode_ = file.st_ino;
  return absl::OkStatus();
}

absl::Status Listener::BindHost(const std::string& host, uint16_t port) {
  if (IsEveryHost(host)) {
    const sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    absl::Status bound = BindTo(&v6, sizeof(v6), AF_INET6);
    if (!bound.ok() && host != "[::]") {  // a machine without IPv6
      const sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
      bound = BindTo(&v4, sizeof(v4), AF_INET);
    }
    return bound;
  }
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  const std::string name = bracketed ? host.substr(1, host.size() - 2) : host;
  const addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(name.c_str(), nullptr, &hints, &found); error != 0)
    return absl::UnavailableError(gai_strerror(error));
  const absl::Cleanup free_found = [found] { freeaddrinfo(found); };
  absl::Status last = absl::UnavailableError("the host has no address");
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    SetPort(*each->ai_addr, port);
    last = BindTo(each->ai_addr, each->ai_addrlen, each->ai_family);
    // Taken is an error even where another family's is free: who would know which server answers?
    if (absl::IsAlreadyExists(last)) return last;
    if (last.ok()) port = PortOf(descriptors_.back());  // of all its addresses
  }
  return descriptors_.empty() ? last : absl::OkStatus();
}

}  // namespace hachi::server
