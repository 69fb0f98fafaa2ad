#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace hachi::server {

template <auto kFree>
struct OpenSslFreer {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using X509Pointer = std::unique_ptr<X509, OpenSslFreer<X509_free>>;
using KeyPointer = std::unique_ptr<EVP_PKEY, OpenSslFreer<EVP_PKEY_free>>;

// All certificates of a PEM text, at least one. INVALID_ARGUMENT when one of them is damaged.
absl::StatusOr<std::vector<X509Pointer>> ParseCertificates(const std::string& pem);

// INVALID_ARGUMENT too for a key that asks for a password.
absl::StatusOr<KeyPointer> ParseKey(const std::string& pem);

}  // namespace hachi::server
