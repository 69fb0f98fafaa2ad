#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/rpc/decode.h"

namespace hachi::server {

// What a request says beside its tensors.
struct InferParameters {
  absl::Duration timeout = absl::InfiniteDuration();  // may only shorten the call's own deadline
};

// A request that fits its model's signature.
struct ValidInfer {
  Rows rows;                               // inputs only; outputs are for the caller to allocate
  std::shared_ptr<const void> keep_alive;  // owns what rows.inputs point at
  std::vector<size_t> outputs;             // indices into the signature's outputs, in the order to answer
  InferParameters parameters;
};

// The version that a request names; nothing when it leaves the choice to the server. INVALID_ARGUMENT for
// what is no decimal number.
absl::StatusOr<std::optional<int64_t>> ParseVersion(std::string_view text);

// Holds `wire` against the model's signature, whose batches have at most `max_batch_rows` rows.
// INVALID_ARGUMENT for whatever does not fit, UNIMPLEMENTED for extensions that are not offered,
// RESOURCE_EXHAUSTED for shapes that could not run (Model::ShapesOf); the message names the tensor, what was
// found and what was expected. `reserve` is asked before elements of typed contents take so many bytes, on
// behalf of a request of so many rows; its error ends it too.
using Reserve = std::function<absl::Status(int64_t rows, int64_t bytes)>;
absl::StatusOr<ValidInfer> ValidateInfer(WireInfer wire, const Model& model, int64_t max_batch_rows,
                                         const Reserve& reserve);

}  // namespace hachi::server
