#include "server/net/tls_contexts.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "server/net/pem.h"

namespace hachi::server {
namespace {

using Clients = TlsConfig::ClientCertificates;

// The oldest of OpenSSL's errors, as an error about `what`.
absl::Status Refused(const char* what) {
  char reason[256];
  ERR_error_string_n(ERR_get_error(), reason, sizeof(reason));
  ERR_clear_error();
  return absl::InvalidArgumentError(
      absl::StrCat("tls: ", what, ": is refused (", reason, "), expected one that OpenSSL takes"));
}

}  // namespace

void TlsContexts::ContextFreer::operator()(SSL_CTX* context) const { SSL_CTX_free(context); }

TlsContexts::TlsContexts(std::shared_ptr<Certificates> certificates, Clients clients)
    : certificates_(std::move(certificates)), clients_(clients) {}

TlsContexts::~TlsContexts() = default;

absl::StatusOr<std::unique_ptr<TlsContexts>> TlsContexts::Create(std::shared_ptr<Certificates> certificates,
                                                                 Clients clients) {
  std::unique_ptr<TlsContexts> contexts(new TlsContexts(std::move(certificates), clients));
  contexts->files_ = contexts->certificates_->Current();
  ASSIGN_OR_RETURN(contexts->context_, contexts->Make(*contexts->files_));
  return contexts;
}

SSL_CTX* TlsContexts::Current() {
  std::shared_ptr<const CertificateFiles> files = certificates_->Current();
  if (files == files_) return context_.get();
  files_ = std::move(files);
  auto made = Make(*files_);
  if (made.ok())
    context_ = *std::move(made);
  else
    LogError(std::string(made.status().message()));
  return context_.get();
}

absl::StatusOr<TlsContexts::Context> TlsContexts::Make(const CertificateFiles& files) const {
  Context context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

  ASSIGN_OR_RETURN(const std::vector<X509Pointer> chain, ParseCertificates(files.certificate));
  if (SSL_CTX_use_certificate(context.get(), chain[0].get()) != 1) return Refused("certificate");
  for (size_t i = 1; i < chain.size(); ++i)
    if (SSL_CTX_add1_chain_cert(context.get(), chain[i].get()) != 1) return Refused("certificate");
  ASSIGN_OR_RETURN(const KeyPointer key, ParseKey(files.key));
  if (SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) return Refused("key");

  if (clients_ == Clients::kNone) return context;
  ASSIGN_OR_RETURN(const std::vector<X509Pointer> authorities, ParseCertificates(files.client_ca));
  for (const X509Pointer& authority : authorities)
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context.get(), authority.get()) != 1)
      return Refused("client_ca");
  SSL_CTX_set_verify(
      context.get(),
      clients_ == Clients::kRequire ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_PEER,
      nullptr);
  return context;
}

}  // namespace hachi::server
