#pragma once

#include <openssl/types.h>

#include <memory>

#include "absl/status/statusor.h"
#include "config/server_config.h"
#include "server/net/certificates.h"

namespace hachi::server {

// What OpenSSL needs for the handshakes of a server, made anew when its certificates change.
//
// Confined to one thread.
class TlsContexts {
 public:
  // INVALID_ARGUMENT for certificates that OpenSSL does not serve with, such as of short keys.
  static absl::StatusOr<std::unique_ptr<TlsContexts>> Create(std::shared_ptr<Certificates> certificates,
                                                             TlsConfig::ClientCertificates clients);
  ~TlsContexts();

  // For the next connection, which keeps what it needs of it. Certificates that can't be used are logged, and
  // those before stay.
  SSL_CTX* Current();

 private:
  struct ContextFreer {
    void operator()(SSL_CTX* context) const;
  };
  using Context = std::unique_ptr<SSL_CTX, ContextFreer>;

  TlsContexts(std::shared_ptr<Certificates> certificates, TlsConfig::ClientCertificates clients);
  absl::StatusOr<Context> Make(const CertificateFiles& files) const;

  const std::shared_ptr<Certificates> certificates_;
  const TlsConfig::ClientCertificates clients_;
  std::shared_ptr<const CertificateFiles> files_;  // those that were looked at last
  Context context_;
};

}  // namespace hachi::server
