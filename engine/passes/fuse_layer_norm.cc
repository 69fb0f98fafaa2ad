#include <algorithm>
#include <optional>

#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/passes/match.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

// A mean over the last axes of `x`, from `axis` on.
struct Mean {
  Value* x;
  size_t axis;
  friend bool operator==(const Mean&, const Mean&) = default;
};

std::optional<Mean> MeanOf(const Value* value) {
  const Node* node = MakerOf(value, "ReduceMean");
  if (node == nullptr || node->inputs.size() != 2 || node->inputs[0]->dtype != DType::kF32)
    return std::nullopt;
  auto axes = KnownInts(*node, 1, "axes");
  const auto keepdims = node->Int("keepdims", 1);
  if (!axes.ok() || axes->empty() || !keepdims.ok() || *keepdims == 0) return std::nullopt;
  const auto rank = static_cast<int64_t>(node->inputs[0]->rank());
  for (int64_t& axis : *axes)
    if (axis < 0) axis += rank;
  std::ranges::sort(*axes);
  for (size_t i = 0; i < axes->size(); ++i)
    if ((*axes)[i] != rank - std::ssize(*axes) + static_cast<int64_t>(i)) return std::nullopt;
  return Mean{node->inputs[0], static_cast<size_t>(axes->front())};
}

// Whether `value` is x minus that mean of it, or the opposite where only its square counts.
bool IsCentred(const Value* value, const Mean& mean, bool or_opposite = false) {
  const Node* sub = MakerOf(value, "Sub");
  if (sub == nullptr) return false;
  if (sub->inputs[0] == mean.x && MeanOf(sub->inputs[1]) == mean) return true;
  return or_opposite && sub->inputs[1] == mean.x && MeanOf(sub->inputs[0]) == mean;
}

// What is squared; null: nothing is.
const Value* SquareRoot(const Value* value) {
  if (const Node* mul = MakerOf(value, "Mul"); mul != nullptr && mul->inputs[0] == mul->inputs[1])
    return mul->inputs[0];
  const Node* pow = MakerOf(value, "Pow");
  if (pow == nullptr || !pow->inputs[1]->is_constant() || pow->inputs[1]->constant->count() != 1)
    return nullptr;
  const auto integer = ContentOf(*pow->inputs[1]);
  return IsScalar(pow->inputs[1], 2.0) || (integer && integer->front() == Dim(2)) ? pow->inputs[0] : nullptr;
}

// sqrt(mean of (x - mean of x)² + epsilon)
struct Deviation {
  Mean mean;
  float epsilon;
};

std::optional<Deviation> DeviationOf(const Node& sqrt) {
  const Node* add = MakerOf(sqrt.inputs[0], "Add");
  if (add == nullptr) return std::nullopt;
  for (const size_t side : {0, 1}) {
    const auto epsilon = ScalarOf(add->inputs[side]);
    const auto variance = MeanOf(add->inputs[1 - side]);
    if (!epsilon || !variance) continue;
    const Value* centred = SquareRoot(variance->x);
    const Node* sub = centred == nullptr ? nullptr : MakerOf(centred, "Sub");
    if (sub == nullptr) return std::nullopt;
    for (Value* x : sub->inputs)
      if (const Mean mean{x, variance->axis}; IsCentred(centred, mean, /*or_opposite=*/true))
        return Deviation{mean, *epsilon};
  }
  return std::nullopt;
}

class Matcher {
 public:
  Matcher(Graph& graph, const Deviation& deviation)
      : graph_(graph),
        mean_(deviation.mean),
        epsilon_(deviation.epsilon),
        row_(mean_.x->dims->begin() + static_cast<std::ptrdiff_t>(mean_.axis), mean_.x->dims->end()) {}

  // Looks among the readers of the deviation.
  void Fuse(const Value* deviation) {
    for (Node* reader : ReadersOf(deviation)) {
      if (reader->op == "Div" && reader->inputs[1] == deviation) {
        if (IsCentred(reader->inputs[0], mean_)) FuseScaled(reader, nullptr);
        if (IsScalar(reader->inputs[0], 1.0)) FuseInverse(reader->output());
      }
      if (reader->op == "Reciprocal") FuseInverse(reader->output());
    }
  }

 private:
  // A snapshot: nodes change while it is walked.
  static std::vector<Node*> ReadersOf(const Value* value) {
    std::vector<Node*> readers = value->users;
    std::erase_if(readers, [](const Node* node) { return !node->post_ops.empty(); });
    return readers;
  }

  // 1 / deviation, perhaps times a scale.
  void FuseInverse(const Value* inverse) {
    FuseFactor(inverse, nullptr);
    for (const Node* reader : ReadersOf(inverse)) {
      Value* scale = reader->op == "Mul" ? OtherInput(*reader, inverse) : nullptr;
      if (scale != nullptr && FitsRow(*scale)) FuseFactor(reader->output(), scale);
    }
  }

  // (x - mean) × factor, or x × factor + (bias - mean × factor).
  void FuseFactor(const Value* factor, Value* scale) {
    for (Node* reader : ReadersOf(factor)) {
      const Value* other = reader->op == "Mul" ? OtherInput(*reader, factor) : nullptr;
      if (other == nullptr) continue;
      if (IsCentred(other, mean_)) FuseScaled(reader, scale);
      Node* add = other == mean_.x ? OnlyReader(graph_, reader->output(), "Add") : nullptr;
      const Node* sub = add == nullptr ? nullptr : MakerOf(OtherInput(*add, reader->output()), "Sub");
      if (sub == nullptr || !FitsRow(*sub->inputs[0])) continue;
      const Node* shift = MakerOf(sub->inputs[1], "Mul");
      const Value* mean = shift == nullptr ? nullptr : OtherInput(*shift, factor);
      if (mean != nullptr && MeanOf(mean) == mean_) Replace(add, scale, sub->inputs[0]);
    }
  }

  // `node` makes (x - mean) / deviation, times the scale where there is one; a scale and a bias may follow.
  void FuseScaled(Node* node, Value* scale) {
    const auto next = [&](const char* op) -> Value* {
      Node* reader = OnlyReader(graph_, node->output(), op);
      Value* parameter = reader == nullptr ? nullptr : OtherInput(*reader, node->output());
      if (parameter == nullptr || !FitsRow(*parameter) || reader->output()->dims != mean_.x->dims)
        return nullptr;
      node = reader;
      return parameter;
    };
    if (scale == nullptr) scale = next("Mul");
    Value* bias = next("Add");
    Replace(node, scale, bias);
  }

  // A constant for each element of a row, or one for all; axes of one element may stand before.
  bool FitsRow(const Value& value) const {
    if (!value.is_constant() || value.dtype != DType::kF32 || value.rank() > mean_.x->rank()) return false;
    const SymbolicShape dims = RowDims(value);
    const auto broadcast = BroadcastDims(row_, dims);
    return dims.size() <= row_.size() && broadcast.ok() && *broadcast == row_;
  }

  static SymbolicShape RowDims(const Value& value) {
    SymbolicShape dims = *value.dims;
    while (!dims.empty() && dims.front() == Dim(1)) dims.erase(dims.begin());
    return dims;
  }

  Value* Parameter(const Node& node, Value* value, const char* what) {
    if (value != nullptr && value->rank() <= row_.size()) return value;
    Tensor tensor = Tensor::Of<float>({}, {1.0f});
    if (value != nullptr) {
      tensor = Tensor(DType::kF32, *ConstantShape(RowDims(*value)));
      std::ranges::copy(value->constant->As<float>(), tensor.As<float>().begin());
    }
    return graph_.AddConstant(graph_.UniqueValueName(node.name + what),
                              std::make_shared<const Tensor>(std::move(tensor)));
  }

  void Replace(Node* last, Value* scale, Value* bias) {
    if (last->output()->dims != mean_.x->dims) return;
    std::vector<Value*> inputs = {mean_.x, Parameter(*last, scale, "_scale")};
    if (bias != nullptr) inputs.push_back(Parameter(*last, bias, "_bias"));
    Become(graph_, last, "LayerNormalization", inputs,
           {{"axis", static_cast<int64_t>(mean_.axis)}, {"epsilon", epsilon_}});
  }

  Graph& graph_;
  const Mean mean_;
  const float epsilon_;
  const SymbolicShape row_;
};

}  // namespace

absl::Status FuseLayerNorm(Graph& graph, const PassOptions& /*options*/) {
  for (Node* node : graph.NodeList()) {
    if (node->op != "Sqrt" || !node->post_ops.empty()) continue;
    if (const auto deviation = DeviationOf(*node)) Matcher(graph, *deviation).Fuse(node->output());
  }
  return absl::OkStatus();
}

}  // namespace hachi
