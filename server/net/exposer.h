#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "server/metrics/metrics.h"
#include "server/net/http_page.h"
#include "server/net/listener.h"
#include "server/net/tls_contexts.h"

namespace hachi::server {

// Serves the metrics' page, and others beside it, over HTTP or HTTPS, on a thread of its own, from
// construction to destruction.
//
// A client has two seconds to ask (the handshake included) and five to read its answer. There are sixteen at
// once at most: for one more, the one goes that has been there longest, those first that have not asked yet.
// So clients that are slow, or say nothing, keep no other from its page.
// Clients that ask at the same time get the same answer, made once.
//
// Thread-safe.
class Exposer {
 public:
  // `address` is as Listener::Open takes it; in the clear without `tls`. UNAVAILABLE when it can't be bound.
  // `pages` is asked on the exposer's thread for all but /metrics; may be empty.
  static absl::StatusOr<std::unique_ptr<Exposer>> Create(const std::string& address, const Metrics& metrics,
                                                         std::unique_ptr<TlsContexts> tls = nullptr,
                                                         HttpPages pages = {});
  ~Exposer();

  // As bound: "127.0.0.1:43210".
  const std::string& address() const { return listener_->address(); }

 private:
  Exposer(std::unique_ptr<Listener> listener, std::unique_ptr<TlsContexts> tls, const Metrics& metrics,
          HttpPages pages);
  void Serve(const Metrics& metrics);

  const HttpPages pages_;
  const std::unique_ptr<Listener> listener_;
  const std::unique_ptr<TlsContexts> tls_;  // null: in the clear
  const int wake_;                          // an eventfd: the thread is to end
  std::thread thread_;
};

}  // namespace hachi::server
