#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/base/precision.h"
#include "engine/base/repair_report.h"
#include "engine/decide/decisions.h"
#include "engine/quant/range.h"

namespace hachi {

// What `hachi tune` found best for one model, as its decisions.txt has it: what the whole model runs with,
// and the nodes that are decided otherwise than by the rules. Text: lines with '#' in front are remarks; then
//
//   hachi_decisions 1
//   model 3f0c...          the model file's SHA-256
//   range mse
//   repairs equalization=on bias_correction=off
//   nodes 1                so many lines follow
//   conv1 precision=fp32 origin=tune
struct TunedDecisions {
  std::string model_sha256;
  RangeMethod range = RangeMethod::kAuto;
  Repairs repairs;
  Decisions decisions;  // of origin kTune
  std::string remarks;  // lines, each with "# " in front; written, not read

  std::string ToText() const;

  // DATA_LOSS or INVALID_ARGUMENT, with the line, for what ToText does not write; UNIMPLEMENTED for another
  // version of the format.
  static absl::StatusOr<TunedDecisions> Parse(std::string_view text);

  // FAILED_PRECONDITION when they were made for another model.
  static absl::StatusOr<TunedDecisions> ReadFor(const std::filesystem::path& file,
                                                std::string_view model_sha256);
};

// Adds `advice` to decisions that are given, where these say nothing stronger of a node and no pin does.
void TakeAdvice(const Decisions& advice, const std::map<std::string, Precision>& pins, Decisions& given);

}  // namespace hachi
