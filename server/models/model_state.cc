#include "server/models/model_state.h"

namespace hachi::server {

bool IsLegal(ModelState from, ModelState to) {
  switch (from) {
    case ModelState::kWaiting:
      return to == ModelState::kLoading;
    case ModelState::kLoading:
      return to == ModelState::kReady || to == ModelState::kFailed;
    case ModelState::kReady:
    case ModelState::kFailed:
      return false;
  }
  return false;
}

std::string_view NameOf(ModelState state) {
  switch (state) {
    case ModelState::kWaiting:
      return "waiting";
    case ModelState::kLoading:
      return "loading";
    case ModelState::kReady:
      return "ready";
    case ModelState::kFailed:
      return "failed";
  }
  return "";
}

}  // namespace hachi::server
