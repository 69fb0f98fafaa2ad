#include "server/net/pem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

namespace hachi::server {
namespace {

using Bio = std::unique_ptr<BIO, OpenSslFreer<BIO_free_all>>;

Bio BioOf(const std::string& pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

// A key file that asks for a password is refused instead of asking the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

}  // namespace

absl::StatusOr<std::vector<X509Pointer>> ParseCertificates(const std::string& pem) {
  const Bio bio = BioOf(pem);
  std::vector<X509Pointer> certificates;
  while (X509Pointer next{PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr)})
    certificates.push_back(std::move(next));
  const unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  if (certificates.empty() || ERR_GET_REASON(error) != PEM_R_NO_START_LINE)
    return absl::InvalidArgumentError("is not text of certificates, expected PEM");
  return certificates;
}

absl::StatusOr<KeyPointer> ParseKey(const std::string& pem) {
  const Bio bio = BioOf(pem);
  KeyPointer key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr));
  ERR_clear_error();
  if (key == nullptr) return absl::InvalidArgumentError("is not a key, expected PEM without a password");
  return key;
}

}  // namespace hachi::server
