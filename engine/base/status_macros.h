#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function when `expr`, an absl::Status, is not OK.
#define RETURN_IF_ERROR(expr)                                                           \
  do {                                                                                  \
    if (absl::Status status_macro_ = (expr); !status_macro_.ok()) return status_macro_; \
  } while (false)

// Evaluates `rexpr`, an absl::StatusOr<T>; assigns its value to `lhs` (which may declare a variable) or
// returns its error from the enclosing function.
#define ASSIGN_OR_RETURN(lhs, rexpr) HACHI_ASSIGN_OR_RETURN_(HACHI_CONCAT_(status_or_, __LINE__), lhs, rexpr)

#define HACHI_CONCAT_INNER_(a, b) a##b
#define HACHI_CONCAT_(a, b) HACHI_CONCAT_INNER_(a, b)
#define HACHI_ASSIGN_OR_RETURN_(result, lhs, rexpr)    \
  auto result = (rexpr);                               \
  if (!result.ok()) return std::move(result).status(); \
  lhs = *std::move(result)

namespace hachi {

// `status` with "context: " before its message; payloads and code are kept. OK stays OK.
inline absl::Status WithContext(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  std::string message(context);
  message.append(": ").append(status.message().data(), status.message().size());
  absl::Status annotated(status.code(), message);
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { annotated.SetPayload(url, payload); });
  return annotated;
}

}  // namespace hachi
