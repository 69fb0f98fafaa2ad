#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/decide/decisions.h"
#include "engine/graph/graph.h"
#include "engine/quant/calibration_table.h"

namespace hachi {

// How values are stored as integers, by the statistics of a calibration table.
//
// Thread-compatible.
class ActivationRanges {
 public:
  // `signed_activations` false: u8 only, with a zero point where needed.
  ActivationRanges(const CalibrationTable& table, bool signed_activations)
      : table_(table), signed_activations_(signed_activations) {}

  // Chooses what the graph's nodes with an INT8 form read, by that method, on the calling thread's team: Of
  // need not then.
  void ChooseAhead(const Graph& graph, RangeMethod method);

  // nullopt where the value has to stay FP32. Integers that an operator passes on keep their meaning.
  // `overrule`: use a line of the table though it is commented out; but not what the data showed. A value
  // keeps the range that was asked for first. INVALID_ARGUMENT: the table lacks the tensor.
  absl::StatusOr<std::optional<ActivationQuant>> Of(const Value& value, RangeMethod method, bool overrule);

  // With a scale for each channel, where that is much better than `whole` (see ChooseChannelQuant).
  absl::StatusOr<std::optional<ActivationQuant>> ByChannel(const Value& value, int64_t channels,
                                                           const ActivationQuant& whole);

  // `value` is stored so.
  void Note(const Value* value, const ActivationQuant& quant) { known_[value] = quant; }

 private:
  const CalibrationTable& table_;
  const bool signed_activations_;
  std::map<const Value*, ActivationQuant> known_;
  std::map<std::pair<const TensorStats*, RangeMethod>, ActivationQuant> chosen_;  // ahead
};

struct Rules {
  const CalibrationTable& table;
  RangeMethod range = RangeMethod::kAuto;  // where nothing else is decided

  // Node name, or pattern with '*' for any characters, to the precision of matching nodes. Where several
  // match, the first in the map's order wins.
  std::map<std::string, Precision> pins = {};

  // Overrule all rules for the nodes that they name, which count as pinned; advice (see IsAdvice) overrules
  // the default rule alone.
  const Decisions* given = nullptr;

  bool is_part = false;  // of a model's graph: pins and given decisions may be of other parts
};

// What a node of that name is pinned to (see Rules::pins); nullopt: nothing.
std::optional<Precision> PinOf(const std::map<std::string, Precision>& pins, std::string_view node);

// Whether it is an RNN, a GRU or an LSTM.
bool IsRecurrent(const Node& node);

// Whether kernels take the operands of a node with weights as integers.
bool HasIntegerKernels(const Node& node);

// What the node reads as real numbers that are computed.
std::vector<size_t> Activations(const Node& node);

// Decides for every node of a fused graph that has an INT8 form. By default a product runs in INT8 where its
// operands and ranges allow it, and what passes integers on does where that feeds one. INVALID_ARGUMENT: the
// table lacks a tensor; a pin matches no node, or a given decision names none; one is INT8 where that is not
// possible. `ranges` are the table's.
absl::StatusOr<Decisions> DecideByRules(const Graph& graph, const Rules& rules, ActivationRanges ranges);

}  // namespace hachi
