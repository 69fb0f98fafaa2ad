#include "engine/decide/rules.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/op.h"
#include "engine/quant/channel_range.h"

namespace hachi {
namespace {

// `pattern` with '*' for any characters matches the whole of `text`.
bool MatchesPattern(std::string_view pattern, std::string_view text) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == text;
  if (!text.starts_with(pattern.substr(0, star))) return false;
  const std::string_view rest = pattern.substr(star + 1);
  for (size_t at = star; at <= text.size(); ++at)
    if (MatchesPattern(rest, text.substr(at))) return true;
  return false;
}

bool IsWeighted(const Node& node) { return FindOp(node.op)->quantize == QuantRule::kWeighted; }

// Whether the node has products or passes integers on.
bool HasIntegerForm(const Node& node) { return FindOp(node.op)->quantize != QuantRule::kNone; }

// The value whose integers operators pass on as this one.
const Value& WhoseIntegers(const Value& value) {
  const Node* producer = value.producer;
  const bool passes = producer != nullptr && FindOp(producer->op)->quantize == QuantRule::kKeepScale &&
                      !producer->inputs[0]->is_constant();
  return passes ? WhoseIntegers(*producer->inputs[0]) : value;
}

class Decider {
 public:
  Decider(const Graph& graph, const Rules& rules, ActivationRanges ranges)
      : graph_(graph), rules_(rules), ranges_(std::move(ranges)) {}

  absl::StatusOr<Decisions> Run() {
    RETURN_IF_ERROR(CheckNames());
    const std::vector<Node*> nodes = graph_.NodeList();
    for (const Node* node : nodes) {
      if (!HasIntegerForm(*node)) continue;
      Decision decision = Wanted(*node);
      ASSIGN_OR_RETURN(const bool able, IsAble(*node, decision));
      if (able) able_.insert(node);
      decisions_.Set(node->name, decision);
    }
    // Against the flow: what a product reads is wanted in integers, and through it what made that.
    for (auto it = nodes.rbegin(); it != nodes.rend(); ++it)
      if (able_.contains(*it) && (IsWeighted(**it) || IsRead(*(*it)->output()))) chosen_.insert(*it);
    for (const Node* node : nodes) {
      const Decision* decision = decisions_.Find(node->name);
      if (decision == nullptr) continue;
      Decision made = *decision;
      made.precision = chosen_.contains(node) ? Precision::kInt8 : RealPrecision(*node, decision->precision);
      if (const Decision* given = Given(*node);
          given != nullptr && !IsAdvice(given->origin) && given->precision != made.precision)
        return absl::InvalidArgumentError(absl::StrCat("decisions: node '", node->name, "' cannot run in ",
                                                       std::string(NameOf(given->precision)), ", expected ",
                                                       std::string(NameOf(made.precision))));
      decisions_.Set(node->name, std::move(made));
    }
    return std::move(decisions_);
  }

 private:
  absl::Status CheckNames() const {
    if (rules_.is_part) return absl::OkStatus();
    const auto check = [&](const std::string& what, const std::string& pattern) -> absl::Status {
      const auto matches = [&](const auto& node) {
        return (HasIntegerForm(*node) || IsRecurrent(*node)) && MatchesPattern(pattern, node->name);
      };
      if (std::ranges::any_of(graph_.nodes(), matches)) return absl::OkStatus();
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": '", pattern,
                       "' matches no node, expected the name of one with an INT8 form "
                       "after fusion, or a pattern that matches some"));
    };
    for (const auto& [pattern, precision] : rules_.pins) RETURN_IF_ERROR(check("layers", pattern));
    if (rules_.given != nullptr)
      for (const auto& [node, decision] : rules_.given->by_node()) RETURN_IF_ERROR(check("decisions", node));
    return absl::OkStatus();
  }

  const Decision* Given(const Node& node) const {
    return rules_.given == nullptr ? nullptr : rules_.given->Find(node.name);
  }

  // What is decided of the node before its operands are looked at.
  Decision Wanted(const Node& node) const {
    if (const Decision* given = Given(node)) return *given;
    Decision decision = {.precision = Precision::kInt8, .range = rules_.range};
    if (const auto pin = PinOf(rules_.pins, node.name)) {
      decision.precision = *pin;
      decision.origin = Origin::kPin;
    }
    return decision;
  }

  // Of a node that does not run in INT8.
  static Precision RealPrecision(const Node& node, Precision wanted) {
    return wanted == Precision::kBf16 && IsWeighted(node) ? Precision::kBf16 : Precision::kFp32;
  }

  // Whether the node could run in INT8: its form, its operands, its ranges and what was decided allow it.
  // REQUIRES: asked in topological order.
  absl::StatusOr<bool> IsAble(const Node& node, Decision& decision) {
    if (node.output()->dtype != DType::kF32 || decision.precision != Precision::kInt8) return false;
    const std::vector<size_t> activations = Activations(node);
    if (activations.empty() || activations.front() != 0) return false;
    if (IsWeighted(node)) {
      if (!HasIntegerKernels(node) || node.inputs[1]->dtype != DType::kF32) return false;
    } else if (std::ranges::none_of(activations,
                                    [&](size_t i) { return ComesFromIntegers(*node.inputs[i]); })) {
      return false;
    }
    const bool pinned =
        decision.origin == Origin::kPin || (Given(node) != nullptr && !IsAdvice(decision.origin));
    for (const size_t i : activations) {
      ASSIGN_OR_RETURN(const auto quant, ranges_.Of(*node.inputs[i], decision.range, pinned));
      if (quant) continue;
      if (IsCommentedOut(*node.inputs[i])) decision.origin = Origin::kTableComment;
      return false;
    }
    return true;
  }

  bool IsCommentedOut(const Value& value) const {
    const CalibrationTable::Entry* line = rules_.table.Line(value.name);
    return line != nullptr && line->commented_out;
  }

  // A graph input (its integers come from the intake), or made by a node that could give integers.
  bool ComesFromIntegers(const Value& value) const {
    return value.producer == nullptr || able_.contains(value.producer);
  }

  // Whether a node that was chosen reads the value.
  bool IsRead(const Value& value) const {
    return std::ranges::any_of(value.users, [&](const Node* user) { return chosen_.contains(user); });
  }

  const Graph& graph_;
  const Rules& rules_;
  ActivationRanges ranges_;
  std::unordered_set<const Node*> able_, chosen_;
  Decisions decisions_;
};

}  // namespace

void ActivationRanges::ChooseAhead(const Graph& graph, RangeMethod method) {
  std::set<const TensorStats*> read;
  for (const auto& node : graph.nodes()) {
    if (!HasIntegerForm(*node) || (IsWeighted(*node) && !HasIntegerKernels(*node))) continue;
    for (const size_t i : Activations(*node)) {
      const CalibrationTable::Entry* line = table_.Line(WhoseIntegers(*node->inputs[i]).name);
      if (line != nullptr && line->stats.quantizable()) read.insert(&line->stats);
    }
  }
  const std::vector<const TensorStats*> all(read.begin(), read.end());
  std::vector<ActivationQuant> quants(all.size());
  ParallelForEach(static_cast<int64_t>(all.size()), [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    quants[at] = *ChooseActivationQuant(*all[at], method);
  });
  for (size_t i = 0; i < all.size(); ++i) chosen_[{all[i], method}] = std::move(quants[i]);
}

absl::StatusOr<std::optional<ActivationQuant>> ActivationRanges::Of(const Value& passed, RangeMethod method,
                                                                    bool overrule) {
  const Value& value = WhoseIntegers(passed);
  if (const auto known = known_.find(&value); known != known_.end()) return known->second;
  ASSIGN_OR_RETURN(const TensorStats* stats, table_.Find(value.name));
  if (const auto* line = table_.Line(value.name); line != nullptr && overrule) stats = &line->stats;
  if (stats == nullptr || !stats->quantizable()) return std::nullopt;
  const auto ahead = chosen_.find({stats, method});
  ASSIGN_OR_RETURN(ActivationQuant quant,
                   ahead != chosen_.end() ? ahead->second : ChooseActivationQuant(*stats, method));
  if (quant.dtype == DType::kS8 && !signed_activations_) {
    quant.dtype = DType::kU8;
    quant.params.zero_points[0] += 128;
  }
  known_[&value] = quant;
  return quant;
}

absl::StatusOr<std::optional<ActivationQuant>> ActivationRanges::ByChannel(const Value& value,
                                                                           int64_t channels,
                                                                           const ActivationQuant& whole) {
  ASSIGN_OR_RETURN(const TensorStats* stats, table_.Find(value.name));
  if (stats == nullptr) return std::nullopt;
  return ChooseChannelQuant(*stats, channels, whole, signed_activations_);
}

bool HasIntegerKernels(const Node& node) {
  const Value &weights = *node.inputs[1], *bias = node.input(2);
  if (!weights.is_constant() || weights.constant->count() == 0) return false;
  if (bias != nullptr && !bias->is_constant()) return false;
  return FindOp(node.op)->has_integer_kernels(node);
}

bool IsRecurrent(const Node& node) { return node.op == "RNN" || node.op == "GRU" || node.op == "LSTM"; }

std::optional<Precision> PinOf(const std::map<std::string, Precision>& pins, std::string_view node) {
  for (const auto& [pattern, precision] : pins)
    if (MatchesPattern(pattern, node)) return precision;
  return std::nullopt;
}

std::vector<size_t> Activations(const Node& node) {
  std::vector<size_t> indices;
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (node.inputs[i] != nullptr && !node.inputs[i]->is_constant() && node.inputs[i]->dtype == DType::kF32)
      indices.push_back(i);
  return indices;
}

absl::StatusOr<Decisions> DecideByRules(const Graph& graph, const Rules& rules, ActivationRanges ranges) {
  return Decider(graph, rules, std::move(ranges)).Run();
}

}  // namespace hachi
