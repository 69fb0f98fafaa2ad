#pragma once

#include <exception>
#include <new>
#include <utility>

#include "absl/status/status.h"

namespace hachi {

// What `fn` returns, an absl::Status or StatusOr; what the libraries or the allocator throw in it as a
// status. For the doors of the engine: what one model asks for is not the end of the others.
template <typename Fn>
auto NoThrow(Fn&& fn) -> decltype(fn()) {
  try {
    return std::forward<Fn>(fn)();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("memory ran out");
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  }
}

}  // namespace hachi
