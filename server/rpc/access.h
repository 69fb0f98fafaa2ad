#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/server_config.h"
#include "engine/base/mutex.h"

namespace grpc {
class CallbackServerContext;
}

namespace hachi::server {

// Who may use which model. A client is known by a name in its certificate (a subject alternative name, or the
// common name), or by a bearer token in the call's `authorization`; the token wins.
//
// Thread-safe.
class Access {
 public:
  // INVALID_ARGUMENT for a file of tokens that is none; NOT_FOUND or UNAVAILABLE when it can't be read. A
  // file that others may read is warned of.
  static absl::StatusOr<std::unique_ptr<Access>> Create(const AuthConfig& config);

  // UNAUTHENTICATED: the caller shows nothing that says who it is. PERMISSION_DENIED: it is known and may not
  // use `model`, or not anything; empty: a question about the server, which every client may ask.
  absl::Status Check(const grpc::CallbackServerContext& context, std::string_view model) const;

  // The name of the token's owner, from lines "NAME TOKEN". The file is read again when it changes.
  static absl::StatusOr<std::map<std::string, std::string>> ParseTokens(std::string_view text);

 private:
  explicit Access(const AuthConfig& config);
  absl::StatusOr<std::string> NameOf(const grpc::CallbackServerContext& context) const;
  absl::StatusOr<std::string> OwnerOf(std::string_view token) const;
  absl::Status ReadTokens() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::map<std::string, std::set<std::string, std::less<>>, std::less<>> models_by_client_;
  const std::filesystem::path tokens_file_;
  mutable Mutex mutex_;
  mutable absl::Time look_again_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  mutable std::string fingerprint_ ABSL_GUARDED_BY(mutex_);
  mutable std::map<std::string, std::string> owner_by_digest_
      ABSL_GUARDED_BY(mutex_);  // SHA-256 of the token
};

}  // namespace hachi::server
