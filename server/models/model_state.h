#pragma once

#include <array>
#include <string_view>

namespace hachi::server {

// Life of a model version. Legal order:
//
//   kWaiting -> kLoading -> kReady
//                        -> kFailed
//
// A version in another state than kReady is not served; kFailed has a reason.
enum class ModelState { kWaiting, kLoading, kReady, kFailed };

inline constexpr std::array kModelStates = {ModelState::kWaiting, ModelState::kLoading, ModelState::kReady,
                                            ModelState::kFailed};

bool IsLegal(ModelState from, ModelState to);

// "waiting", "loading", "ready", "failed": the metric's label.
std::string_view NameOf(ModelState state);

}  // namespace hachi::server
