#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/base/precision.h"
#include "engine/quant/range.h"

namespace hachi {

// Who made a decision, the strongest first: a stronger one overrules.
enum class Origin {
  kPin,           // model.yaml's `layers`, or whoever asks for a load
  kTableComment,  // a line of the calibration table that is commented out
  kTune,          // `hachi tune`
  kGuard,         // the accuracy guard of the load
  kDefault,       // the rules of DecideByRules
};
std::string_view NameOf(Origin origin);

// Whether decisions from there, when they are given, yield to pins and to the table's comments.
constexpr bool IsAdvice(Origin origin) { return origin == Origin::kTune || origin == Origin::kGuard; }

// What was decided of one node.
struct Decision {
  Precision precision = Precision::kFp32;  // kInt8, kBf16 or kFp32
  RangeMethod range = RangeMethod::kAuto;  // of what it reads, where it is INT8
  std::string kernel;                      // the offer to use, "ref" for none; empty: the first that takes it
  Origin origin = Origin::kDefault;
};

// The decisions of a model: one for each node that has an INT8 form, by the names that nodes have after
// fusion. Data: printed, parsed, and compiled from again.
//
// Thread-compatible.
class Decisions {
 public:
  // INVALID_ARGUMENT, with the line, for what ToText does not write.
  static absl::StatusOr<Decisions> Parse(std::string_view text);

  // One line a node, sorted: "conv1 precision=int8 range=auto kernel=hachi_depthwise origin=pin".
  std::string ToText() const;

  // Null where nothing was decided.
  const Decision* Find(std::string_view node) const;
  bool IsInt8(std::string_view node) const {
    const Decision* decision = Find(node);
    return decision != nullptr && decision->precision == Precision::kInt8;
  }
  void Set(const std::string& node, Decision decision) { by_node_[node] = std::move(decision); }

  const std::map<std::string, Decision, std::less<>>& by_node() const { return by_node_; }

 private:
  std::map<std::string, Decision, std::less<>> by_node_;
};

}  // namespace hachi
