#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/server_config.h"
#include "engine/base/mutex.h"
#include "server/metrics/metrics.h"

namespace hachi::server {

// A server's identity and whom it lets in, as PEM.
struct CertificateFiles {
  std::string certificate;  // the chain, the server's own first
  std::string key;
  std::string client_ca;  // empty: clients show no certificates
  absl::Time expires;     // the server's own
};

// The certificate files of a configuration, read again when they change.
//
// Files that do not fit each other, as when they are replaced one after the other, are not taken: those that
// were read before stay until all are good. That is logged, and counted in the metrics.
//
// Thread-safe.
class Certificates {
 public:
  // INVALID_ARGUMENT for what is no certificate, for a key of another one, and for a certificate that has
  // expired. A key that others than its owner may read is warned of.
  static absl::StatusOr<std::unique_ptr<Certificates>> Read(const TlsConfig& config,
                                                            CertificateMetrics* metrics);

  // Those to show now. Looks at the files at most once a second; the same pointer while they are the same.
  std::shared_ptr<const CertificateFiles> Current();

 private:
  Certificates(TlsConfig config, CertificateMetrics* metrics);
  absl::StatusOr<std::shared_ptr<const CertificateFiles>> ReadAll() const;
  std::string Fingerprint() const;

  const TlsConfig config_;
  CertificateMetrics* const metrics_;
  Mutex mutex_;
  absl::Time look_again_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::string fingerprint_ ABSL_GUARDED_BY(mutex_);  // of the files that were read last, good or bad
  std::shared_ptr<const CertificateFiles> current_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hachi::server
