#include "engine/passes/repair.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/op.h"
#include "engine/passes/integers.h"
#include "engine/passes/match.h"

namespace hachi {
namespace {

bool IsProduct(const Node& node) { return FindOp(node.op)->quantize == QuantRule::kWeighted; }

// The weights of a product or convolution as sums.
ProductWeights WeightsOf(const Node& node) {
  ProductWeights weights{.values = node.inputs[1]->constant->view(),
                         .output_axis = FindOp(node.op)->channel_axis(node)};
  if (node.op == "Conv") weights.groups = node.Int("group", 1).value_or(1);
  return weights;
}

// The axis of what the node reads that it sums over; of what it makes, that of its outputs' channels.
size_t SummedAxis(const Node& node) {
  return node.op == "Conv" || node.op == "ConvTranspose" ? 1 : node.inputs[0]->rank() - 1;
}

bool IsRealConstant(const Value* value) {
  return value != nullptr && value->is_constant() && value->dtype == DType::kF32;
}

// Whether it is left out, or a vector with one real number for each channel.
bool IsByChannel(const Value* value, const Dim& channels) {
  return value == nullptr || (IsRealConstant(value) && value->dims == SymbolicShape{channels});
}

std::vector<double> Doubles(const std::vector<float>& factors, double power) {
  std::vector<double> doubles;
  for (const float factor : factors) doubles.push_back(std::pow(static_cast<double>(factor), power));
  return doubles;
}

}  // namespace

bool Repairer::IsInt8(const Node& node) const { return decisions_.IsInt8(node.name); }

const TensorStats* Repairer::StatsOf(const std::string& name, size_t rank, size_t axis) const {
  const CalibrationTable::Entry* line = options_.table->Line(name);
  const ChannelAxis known = rank > 2 && axis == rank - 1 ? ChannelAxis::kLast : ChannelAxis::kSecond;
  return line != nullptr && line->stats.channel_axis() == known ? &line->stats : nullptr;
}

void Repairer::Report(const char* repair, const std::string& name, double gain) {
  if (options_.repaired != nullptr) options_.repaired->push_back({repair, name, gain});
}

bool Repairer::StaysReal(const Node& node, size_t i) const {
  if (ResidualOf(node.post_ops) != static_cast<int>(i)) return false;
  const Node* maker = node.inputs[i]->producer;
  if (maker == nullptr || IsInt8(*maker)) return false;
  return std::ranges::none_of(node.output()->users, [&](const Node* user) { return IsInt8(*user); });
}

// Whether the value is one whose channels only INT8 sums meet, as far as integers go.
bool Repairer::Collect(Value& value, Candidate& candidate) const {
  candidate.value = &value;
  if (value.producer == nullptr || value.rank() < 2 || value.dtype != DType::kF32) return false;
  if (FindOp(value.producer->op)->quantize == QuantRule::kKeepScale) return false;
  for (Node* user : value.users) {
    if (!IsInt8(*user)) continue;
    const auto reads = [&](size_t i) { return user->inputs[i] == &value && !StaysReal(*user, i); };
    const std::vector<size_t> operands = Activations(*user);
    if (std::ranges::none_of(operands, reads)) continue;
    if (!IsProduct(*user) || user->inputs[0] != &value || std::ranges::count(user->inputs, &value) != 1)
      return false;
    const ProductWeights weights = WeightsOf(*user);
    const bool turned = user->op == "Gemm" && user->Int("transA", 0).value_or(1) != 0;
    if (weights.groups != 1 || turned || !IsRealConstant(user->inputs[1])) return false;
    candidate.axis = SummedAxis(*user);
    if (!candidate.readers.empty() && SummedAxis(*candidate.readers.front()) != candidate.axis) return false;
    candidate.readers.push_back(user);
  }
  return !candidate.readers.empty();
}

// Whether what makes the value can scale its channels: nobody else may read them then.
bool Repairer::CanTakeFactors(const Candidate& candidate) const {
  const Value& value = *candidate.value;
  const Node& maker = *value.producer;
  if (value.users.size() != candidate.readers.size() || graph_.IsOutput(&value)) return false;
  if (!std::ranges::all_of(maker.post_ops, KeepsFactors)) return false;
  const Dim& channels = (*value.dims)[candidate.axis];
  if (!IsByChannel(maker.input(2), channels)) return false;
  if (maker.op == "LayerNormalization") {
    const auto axis = maker.Int("axis", -1);
    const auto last = static_cast<int64_t>(value.rank()) - 1;
    return axis.ok() && (*axis == -1 || *axis == last) && candidate.axis == value.rank() - 1 &&
           maker.input(1) != nullptr && IsByChannel(maker.inputs[1], channels);
  }
  if (!IsProduct(maker) || !HasIntegerKernels(maker) || !IsRealConstant(maker.inputs[1])) return false;
  const bool convolution = maker.op == "Conv" || maker.op == "ConvTranspose";
  return candidate.axis == (convolution ? 1 : value.rank() - 1);
}

void Repairer::GiveFactors(Node& maker, const std::vector<float>& factors) {
  const size_t axis = IsProduct(maker) ? FindOp(maker.op)->channel_axis(maker) : 0;
  const std::vector<double> numbers = Doubles(factors, 1);
  for (const size_t i : {1, 2})
    if (const Value* constant = maker.input(i); constant != nullptr)
      graph_.SetInput(&maker, i,
                      AddScaled(graph_, *constant, absl::StrCat(constant->name, "_equalized"), numbers,
                                i == 1 ? axis : 0));
}

// The value times the factors, which lie along its last axis.
absl::StatusOr<Value*> Repairer::Multiply(const Candidate& candidate, const std::vector<float>& factors) {
  const std::string& name = candidate.value->name;
  const Shape shape{static_cast<int64_t>(factors.size())};
  Value* constant = graph_.AddConstant(
      graph_.UniqueValueName(absl::StrCat(name, "_factors")),
      std::make_shared<const Tensor>(Tensor::Of<float>(shape, std::span<const float>(factors))));
  const auto reads = [&](const auto& node) { return std::ranges::count(candidate.readers, node.get()) > 0; };
  Node* first = std::ranges::find_if(graph_.nodes(), reads)->get();
  ASSIGN_OR_RETURN(Value * made, InsertBefore(graph_, first, "Mul", {candidate.value, constant}));
  made->layout = candidate.value->layout;
  for (Node* reader : candidate.readers) graph_.SetInput(reader, 0, made);
  return made;
}

absl::StatusOr<std::optional<Repairer::Equalizable>> Repairer::EqualizableOf(Candidate candidate) {
  const Value& value = *candidate.value;
  const TensorStats* stats = StatsOf(value.name, value.rank(), candidate.axis);
  const Decision& decision = *decisions_.Find(candidate.readers.front()->name);
  ASSIGN_OR_RETURN(const auto whole, ranges_.Of(value, decision.range, /*overrule=*/true));
  if (stats == nullptr || !whole) return std::nullopt;
  const bool last = candidate.axis == value.rank() - 1;
  const bool takes_factors = CanTakeFactors(candidate);
  // What writes integers anyhow would have to write real numbers for a Mul.
  if (!takes_factors && (!last || IsInt8(*value.producer))) return std::nullopt;
  return Equalizable{std::move(candidate), takes_factors, stats, *whole, std::nullopt};
}

void Repairer::Choose(Equalizable& equalizable) const {
  std::vector<ProductWeights> weights;
  for (const Node* reader : equalizable.candidate.readers) weights.push_back(WeightsOf(*reader));
  equalizable.found =
      ChooseEqualization(*equalizable.stats, equalizable.whole, weights, options_.signed_activations);
}

absl::Status Repairer::Apply(Equalizable& equalizable) {
  auto& [candidate, maker_takes_factors, stats, whole, found] = equalizable;
  if (!found) return absl::OkStatus();
  Value* value = candidate.value;
  Report("equalization", value->name, found->gain);
  for (Node* reader : candidate.readers)
    graph_.SetInput(reader, 1,
                    AddScaled(graph_, *reader->inputs[1], absl::StrCat(reader->inputs[1]->name, "_equalized"),
                              Doubles(found->factors, -1), 1 - FindOp(reader->op)->channel_axis(*reader)));
  const std::string name = value->name;
  if (maker_takes_factors) {
    GiveFactors(*value->producer, found->factors);
  } else {
    ASSIGN_OR_RETURN(value, Multiply(candidate, found->factors));
  }
  ranges_.Note(value, found->quant);
  scaled_[value] = {name, std::move(found->factors)};
  return absl::OkStatus();
}

absl::Status Repairer::Equalize() {
  if (!options_.repairs.equalization) return absl::OkStatus();
  std::set<const Value*> seen;
  std::vector<Equalizable> all;
  for (Node* node : graph_.NodeList()) {
    if (!IsInt8(*node) || !IsProduct(*node) || !seen.insert(node->inputs[0]).second) continue;
    Candidate candidate;
    if (!Collect(*node->inputs[0], candidate)) continue;
    ASSIGN_OR_RETURN(auto equalizable, EqualizableOf(std::move(candidate)));
    if (equalizable) all.push_back(*std::move(equalizable));
  }
  // Each looks at its readers' weights alone, and nothing upstream of them is applied behind it.
  ParallelForEach(static_cast<int64_t>(all.size()), [&](int64_t i) { Choose(all[static_cast<size_t>(i)]); });
  for (Equalizable& equalizable : all) RETURN_IF_ERROR(Apply(equalizable));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Repairer::BiasError>> Repairer::BiasErrorOf(const Node& node, const Value& x,
                                                                         RangeMethod range) {
  if (!options_.repairs.bias_correction) return std::nullopt;
  const auto scaled = scaled_.find(&x);
  const TensorStats* stats =
      StatsOf(scaled == scaled_.end() ? x.name : scaled->second.name, x.rank(), SummedAxis(node));
  const ProductWeights weights = WeightsOf(node);
  if (!IsByChannel(node.input(2), Dim(weights.outputs()))) return std::nullopt;
  if (stats == nullptr || stats->channels() != weights.inputs() || !stats->quantizable()) return std::nullopt;
  ASSIGN_OR_RETURN(const auto quant, ranges_.Of(x, range, /*overrule=*/true));
  if (!quant) return std::nullopt;
  return BiasError{
      weights,
      ChannelMoments(*stats, scaled == scaled_.end() ? std::vector<float>() : scaled->second.factors),
      quant->mse,
      {}};
}

void Repairer::CorrectBias(Node& node, const MeanError& error) {
  constexpr double kWorthwhileGain = 0.05;  // decibels: less is not worth a bias
  if (error.gain < kWorthwhileGain) return;
  Report("bias_correction", node.name, error.gain);
  const Value* old = node.input(2);
  auto bias = std::make_shared<Tensor>(DType::kF32, Shape{static_cast<int64_t>(error.errors.size())});
  for (size_t c = 0; c < error.errors.size(); ++c)
    bias->As<float>()[c] = (old == nullptr ? 0.0f : old->constant->As<float>()[c]) - error.errors[c];
  graph_.SetInput(&node, 2,
                  graph_.AddConstant(graph_.UniqueValueName(absl::StrCat(node.name, "_corrected_bias")),
                                     std::move(bias)));
}

}  // namespace hachi
