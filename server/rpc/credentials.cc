#include "server/rpc/credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <atomic>
#include <string>
#include <utility>

namespace hachi::server {
namespace {

// gRPC asks for the certificates at each handshake, and takes none for "as before".
//
// Thread-safe.
class Credentials final : public grpc::ServerCredentials {
 public:
  Credentials(std::shared_ptr<Certificates> certificates, bool require)
      : certificates_(std::move(certificates)) {
    const bool ask = !certificates_->Current()->client_ca.empty();
    const auto request = !ask      ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                         : require ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                   : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY;
    credentials_ = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(request, &Fetch, this));
  }
  ~Credentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  static grpc_ssl_certificate_config_reload_status Fetch(void* self,
                                                         grpc_ssl_server_certificate_config** config) {
    return static_cast<Credentials*>(self)->Fetch(config);
  }
  grpc_ssl_certificate_config_reload_status Fetch(grpc_ssl_server_certificate_config** config) {
    std::shared_ptr<const CertificateFiles> current = certificates_->Current();
    MutexLock lock(mutex_);
    if (current == given_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair = {.private_key = current->key.c_str(),
                                             .cert_chain = current->certificate.c_str()};
    // It wants roots even where it asks for no certificate.
    const std::string& roots = current->client_ca.empty() ? current->certificate : current->client_ca;
    *config = grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
    given_ = std::move(current);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const std::shared_ptr<Certificates> certificates_;
  grpc_server_credentials* credentials_;
  Mutex mutex_;
  std::shared_ptr<const CertificateFiles> given_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> TlsCredentials(std::shared_ptr<Certificates> certificates,
                                                        bool require) {
  return std::make_shared<Credentials>(std::move(certificates), require);
}

}  // namespace hachi::server
