#pragma once

#include <exception>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace hachi::server {

// Runs `fn`, which returns an absl::Status. gRPC swallows what a reaction throws and leaves the call hanging,
// so nothing may throw past here: an exception, which only a bug of ours or of a library can raise, is
// INTERNAL.
template <typename Fn>
absl::Status StopExceptions(Fn&& fn) noexcept {
  try {
    return fn();
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("unexpected exception: ", e.what()));
  }
}

}  // namespace hachi::server
