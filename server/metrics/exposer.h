#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/metrics/metrics.h"

namespace prometheus {
class Exposer;
}

namespace hachi::server {

// Serves the metrics' page over HTTP, on its own threads, from construction to destruction.
//
// Thread-safe.
class Exposer {
 public:
  // `address` is an IPv4 address or host name with a port; port 0 takes any free one. INVALID_ARGUMENT for
  // what is no such address (IPv6 too: the HTTP library is built without it); UNAVAILABLE when it can't be
  // bound.
  static absl::StatusOr<std::unique_ptr<Exposer>> Create(const std::string& address, const Metrics& metrics);
  ~Exposer();

  // As bound: "127.0.0.1:43210".
  const std::string& address() const { return address_; }

 private:
  Exposer(std::unique_ptr<prometheus::Exposer> exposer, std::string address);

  const std::unique_ptr<prometheus::Exposer> exposer_;
  const std::string address_;
};

}  // namespace hachi::server
