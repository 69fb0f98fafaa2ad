#include "server/metrics/exposer.h"

#include <prometheus/exposer.h>

#include <charconv>
#include <exception>

#include "absl/strings/str_cat.h"

namespace hachi::server {

absl::StatusOr<std::unique_ptr<Exposer>> Exposer::Create(const std::string& address, const Metrics& metrics) {
  const auto error = [&](const char* expected) {
    return absl::InvalidArgumentError(absl::StrCat("metrics address: '", address, "', expected ", expected));
  };
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) return error("host:port");
  if (address.find(':') != colon) return error("an IPv4 address or a host name: IPv6 is not supported here");
  // The library reads more into an address than a host and a port: lists, "s" for TLS, "+" for both families.
  if (address.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.", 0) !=
      colon) {
    return error("a host of letters, digits, '-' and '.'");
  }
  uint16_t port = 0;
  const char* const end = address.data() + address.size();
  const auto [parsed_to, code] = std::from_chars(address.data() + colon + 1, end, port);
  if (code != std::errc() || parsed_to != end) return error("a port from 0 to 65535");

  try {
    auto exposer = std::make_unique<prometheus::Exposer>(address, /*num_threads=*/2);
    exposer->RegisterCollectable(metrics.registry());
    const std::string bound = absl::StrCat(address.substr(0, colon), ":", exposer->GetListeningPorts().at(0));
    return std::unique_ptr<Exposer>(new Exposer(std::move(exposer), bound));
  } catch (const std::exception&) {  // its text says no more than "possible problem binding to port"
    return absl::UnavailableError(absl::StrCat("metrics address: '", address,
                                               "' cannot be bound, expected a free port of this machine"));
  }
}

Exposer::Exposer(std::unique_ptr<prometheus::Exposer> exposer, std::string address)
    : exposer_(std::move(exposer)), address_(std::move(address)) {}

Exposer::~Exposer() = default;

}  // namespace hachi::server
