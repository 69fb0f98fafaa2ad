#pragma once

#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;  // of OpenSSL

namespace hachi {

// SHA-256 (FIPS 180-4) of what comes piece by piece. Thread-compatible.
class Sha256 {
 public:
  Sha256();
  ~Sha256();

  void Add(std::string_view bytes);

  // Of all that was added, as 64 lower-case hexadecimal digits. Nothing is added afterwards.
  std::string Digest();

 private:
  const std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context_;
};

}  // namespace hachi
