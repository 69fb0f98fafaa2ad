// RNN, GRU and LSTM (ONNX opset 14): inputs are X, W, R, B, sequence_lens, initial_h, initial_c, P; outputs
// Y, Y_h, Y_c. A member is a row of kCells. With our attribute `int8`, rows of W and R, and what they are
// multiplied by, are rounded to 127 steps of their largest magnitude: products are of integers.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/byte_panels.h"
#include "engine/kernels/panel_products.h"
#include "engine/kernels/unary.h"
#include "engine/ops/family.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

enum class CellKind { kRnn, kGru, kLstm };

struct Cell {
  std::string_view name;
  CellKind kind;
  int64_t gates;  // matrices of W and R
  size_t most_inputs, most_outputs;
  std::vector<std::string_view> activations;  // of one direction, by default
};

const Cell kCells[] = {{"GRU", CellKind::kGru, 3, 6, 2, {"sigmoid", "tanh"}},
                       {"LSTM", CellKind::kLstm, 4, 8, 3, {"sigmoid", "tanh", "tanh"}},
                       {"RNN", CellKind::kRnn, 1, 6, 2, {"tanh"}}};

// A function of a gate, with its parameters.
struct Activation {
  std::string name;  // in lower case
  float alpha, beta;
};

// Each with the parameters that it has by default.
constexpr struct {
  std::string_view name;
  float alpha, beta;
} kActivations[] = {{"affine", 1.0f, 0.0f},         {"elu", 1.0f, 0.0f},
                    {"hardsigmoid", 0.2f, 0.5f},    {"leakyrelu", 0.01f, 0.0f},
                    {"relu", 0.0f, 0.0f},           {"scaledtanh", 1.0f, 1.0f},
                    {"sigmoid", 0.0f, 0.0f},        {"softplus", 0.0f, 0.0f},
                    {"softsign", 0.0f, 0.0f},       {"tanh", 0.0f, 0.0f},
                    {"thresholdedrelu", 1.0f, 0.0f}};

double Apply(const Activation& activation, double x) {
  const auto alpha = static_cast<double>(activation.alpha), beta = static_cast<double>(activation.beta);
  const std::string& name = activation.name;
  if (name == "sigmoid") return 1 / (1 + std::exp(-x));
  if (name == "tanh") return std::tanh(x);
  if (name == "relu") return std::max(0.0, x);
  if (name == "affine") return alpha * x + beta;
  if (name == "elu") return x >= 0 ? x : alpha * std::expm1(x);
  if (name == "hardsigmoid") return std::clamp(alpha * x + beta, 0.0, 1.0);
  if (name == "leakyrelu") return x >= 0 ? x : alpha * x;
  if (name == "scaledtanh") return alpha * std::tanh(beta * x);
  if (name == "softplus") return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
  if (name == "softsign") return x / (1 + std::abs(x));
  return x > alpha ? x : 0.0;  // thresholdedrelu
}

// What the attributes say.
struct Rule {
  int64_t hidden, directions;
  bool first_backwards;
  bool batch_first;   // layout 1
  bool couples;       // input_forget: an LSTM forgets what it does not take in
  bool resets_after;  // linear_before_reset of a GRU
  bool int8;          // products are of integers (our attribute)
  float clip;
  std::vector<Activation> activations;  // of each direction, one after the other
};

absl::StatusOr<Rule> RuleOf(const Cell& cell, const Node& node) {
  Rule rule{};
  ASSIGN_OR_RETURN(const std::string direction, node.String("direction", "forward"));
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
    return absl::InvalidArgumentError(
        absl::StrCat("direction is '", direction, "', expected forward, reverse or bidirectional"));
  rule.directions = direction == "bidirectional" ? 2 : 1;
  rule.first_backwards = direction == "reverse";
  ASSIGN_OR_RETURN(const int64_t layout, node.Int("layout", 0));
  ASSIGN_OR_RETURN(const int64_t couples, node.Int("input_forget", 0));
  ASSIGN_OR_RETURN(const int64_t resets_after, node.Int("linear_before_reset", 0));
  ASSIGN_OR_RETURN(rule.clip, node.Float("clip", std::numeric_limits<float>::infinity()));
  ASSIGN_OR_RETURN(const int64_t int8, node.Int("int8", 0));
  rule.int8 = int8 != 0;
  rule.batch_first = layout != 0;
  rule.couples = couples != 0;
  rule.resets_after = resets_after != 0;
  const auto weights = ConstantShape(*node.inputs[1]->dims);
  if (!weights || weights->size() != 3)
    return absl::InvalidArgumentError(
        absl::StrCat("W has shape ", ShapeText(*node.inputs[1]->dims), ", expected three numbers"));
  ASSIGN_OR_RETURN(rule.hidden, node.Int("hidden_size", (*weights)[1] / cell.gates));

  std::vector<std::string> names;
  if (const auto attr = node.attrs.find("activations"); attr != node.attrs.end()) {
    const auto* list = std::get_if<std::vector<std::string>>(&attr->second);
    if (list == nullptr) return absl::InvalidArgumentError("attribute 'activations' is no list of strings");
    names = *list;
  }
  if (names.empty())
    for (int64_t i = 0; i < rule.directions; ++i)
      names.insert(names.end(), cell.activations.begin(), cell.activations.end());
  const size_t expected = cell.activations.size() * static_cast<size_t>(rule.directions);
  if (names.size() != expected)
    return absl::InvalidArgumentError(absl::StrCat(names.size(), " activations, expected ", expected));
  const auto floats = [&](const char* name) {
    const auto attr = node.attrs.find(name);
    const auto* list = attr == node.attrs.end() ? nullptr : std::get_if<std::vector<float>>(&attr->second);
    return list == nullptr ? std::vector<float>() : *list;
  };
  const std::vector<float> alphas = floats("activation_alpha"), betas = floats("activation_beta");
  for (size_t i = 0; i < names.size(); ++i) {
    Activation activation{.name = absl::AsciiStrToLower(names[i]), .alpha = 0, .beta = 0};
    const auto known =
        std::ranges::find(kActivations, activation.name, [](const auto& row) { return row.name; });
    if (known == std::end(kActivations))
      return absl::UnimplementedError(absl::StrCat("activation '", names[i], "' is not known"));
    activation.alpha = i < alphas.size() ? alphas[i] : known->alpha;
    activation.beta = i < betas.size() ? betas[i] : known->beta;
    rule.activations.push_back(std::move(activation));
  }
  return rule;
}

// The sizes of one run.
struct Sizes {
  int64_t steps, batch, inputs;
};

absl::Status CheckShape(const Node& node, size_t i, std::string_view name, const SymbolicShape& expected) {
  const Value* value = node.input(i);
  if (value == nullptr || *value->dims == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(std::string(name), " has shape ", ShapeText(*value->dims),
                                                 ", expected ", ShapeText(expected)));
}

absl::Status Infer(const Cell& cell, Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 3, cell.most_inputs));
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (node.inputs[i] != nullptr)
      RETURN_IF_ERROR(CheckInputType(node, i, {i == 4 ? DType::kS32 : DType::kF32}));
  RETURN_IF_ERROR(CheckRank(node, 0, 3, 3));
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(cell, node));
  const SymbolicShape& x = *node.inputs[0]->dims;
  const Dim steps = x[rule.batch_first ? 1 : 0], batch = x[rule.batch_first ? 0 : 1],
            directions(rule.directions), hidden(rule.hidden), gates(cell.gates * rule.hidden);
  const SymbolicShape state =
      rule.batch_first ? SymbolicShape{batch, directions, hidden} : SymbolicShape{directions, batch, hidden};
  RETURN_IF_ERROR(CheckShape(node, 1, "W", {directions, gates, x[2]}));
  RETURN_IF_ERROR(CheckShape(node, 2, "R", {directions, gates, hidden}));
  RETURN_IF_ERROR(CheckShape(node, 3, "B", {directions, Dim(2) * gates}));
  RETURN_IF_ERROR(CheckShape(node, 4, "sequence_lens", {batch}));
  RETURN_IF_ERROR(CheckShape(node, 5, "initial_h", state));
  RETURN_IF_ERROR(CheckShape(node, 6, "initial_c", state));
  RETURN_IF_ERROR(CheckShape(node, 7, "P", {directions, Dim(3) * hidden}));
  if (node.outputs.empty() || node.outputs.size() > cell.most_outputs)
    return absl::InvalidArgumentError(
        absl::StrCat(node.outputs.size(), " outputs, expected 1 to ", cell.most_outputs));
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    node.outputs[i]->dtype = DType::kF32;
    node.outputs[i]->dims = state;
    if (i == 0)
      node.outputs[i]->dims = rule.batch_first ? SymbolicShape{batch, steps, directions, hidden}
                                               : SymbolicShape{steps, directions, batch, hidden};
  }
  return absl::OkStatus();
}

Sizes SizesOf(const Rule& rule, std::span<const int64_t> x) {
  return {x[rule.batch_first ? 1 : 0], x[rule.batch_first ? 0 : 1], x[2]};
}

// Where things lie, in elements.
struct Places {
  const Rule& rule;
  const Sizes& sizes;

  int64_t X(int64_t step, int64_t row) const {
    return (rule.batch_first ? row * sizes.steps + step : step * sizes.batch + row) * sizes.inputs;
  }
  int64_t Y(int64_t step, int64_t direction, int64_t row) const {
    return (rule.batch_first ? (row * sizes.steps + step) * rule.directions + direction
                             : (step * rule.directions + direction) * sizes.batch + row) *
           rule.hidden;
  }
  int64_t State(int64_t direction, int64_t row) const {
    return (rule.batch_first ? row * rule.directions + direction : direction * sizes.batch + row) *
           rule.hidden;
  }
};

// One direction of one row, element by element.
class ReferenceCell {
 public:
  ReferenceCell(const Cell& cell, const Rule& rule, std::span<const TensorView> inputs, int64_t direction)
      : cell_(cell), rule_(rule), inputs_(inputs), direction_(direction) {}

  // The hidden state (and an LSTM's cell state) behind the input x.
  void Step(const float* x, int64_t inputs, std::vector<double>& h, std::vector<double>& c) const {
    const int64_t hidden = rule_.hidden;
    const auto take = [&](int64_t gate, int64_t i) {
      return Product(1, gate, i, inputs, [&](int64_t k) { return static_cast<double>(x[k]); }) +
             Bias(0, gate, i);
    };
    const auto recall = [&](int64_t gate, int64_t i, const std::vector<double>& from) {
      return Product(2, gate, i, hidden, [&](int64_t k) { return from[static_cast<size_t>(k)]; }) +
             Bias(1, gate, i);
    };
    const auto activate = [&](size_t which, double value) {
      const auto clip = static_cast<double>(rule_.clip);
      const size_t at = static_cast<size_t>(direction_) * cell_.activations.size() + which;
      return Apply(rule_.activations[at], std::clamp(value, -clip, clip));
    };
    std::vector<double> next_h(h.size()), next_c(c.size()), reset(h.size());
    if (cell_.kind == CellKind::kGru)
      for (int64_t i = 0; i < hidden; ++i) reset[i] = activate(0, take(1, i) + recall(1, i, h));
    std::vector<double> kept(h.size());  // of the state before, by a GRU that resets first
    for (size_t i = 0; i < h.size(); ++i) kept[i] = reset[i] * h[i];
    for (int64_t i = 0; i < hidden; ++i) {
      if (cell_.kind == CellKind::kRnn) {
        next_h[i] = activate(0, take(0, i) + recall(0, i, h));
      } else if (cell_.kind == CellKind::kGru) {
        const double update = activate(0, take(0, i) + recall(0, i, h));
        const double recalled = rule_.resets_after ? reset[i] * recall(2, i, h) : recall(2, i, kept);
        next_h[i] = (1 - update) * activate(1, take(2, i) + recalled) + update * h[i];
      } else {
        const double in = activate(0, take(0, i) + recall(0, i, h) + Peephole(0, i) * c[i]);
        const double forget =
            rule_.couples ? 1 - in : activate(0, take(2, i) + recall(2, i, h) + Peephole(2, i) * c[i]);
        next_c[i] = forget * c[i] + in * activate(1, take(3, i) + recall(3, i, h));
        const double out = activate(0, take(1, i) + recall(1, i, h) + Peephole(1, i) * next_c[i]);
        next_h[i] = out * activate(2, next_c[i]);
      }
    }
    h = next_h;
    c = next_c;
  }

 private:
  // Row `i` of a gate's matrix in W (input 1) or R (input 2) times a vector.
  template <typename Element>
  double Product(size_t input, int64_t gate, int64_t i, int64_t depth, const Element& element) const {
    const auto matrix = inputs_[input].As<float>();
    const int64_t row = ((direction_ * cell_.gates + gate) * rule_.hidden + i) * depth;
    const auto weight = [&](int64_t k) { return static_cast<double>(matrix[row + k]); };
    const double weight_step = rule_.int8 ? StepOf(depth, weight) : 0,
                 step = rule_.int8 ? StepOf(depth, element) : 0;
    double sum = 0;
    for (int64_t k = 0; k < depth; ++k) sum += Rounded(weight(k), weight_step) * Rounded(element(k), step);
    return sum;
  }

  // What 127 of which reach over all elements.
  template <typename Element>
  static double StepOf(int64_t depth, const Element& element) {
    double largest = 0;
    for (int64_t k = 0; k < depth; ++k) largest = std::max(largest, std::abs(element(k)));
    return largest / 127;
  }
  static double Rounded(double x, double step) { return step > 0 ? std::nearbyint(x / step) * step : x; }

  double Bias(int64_t half, int64_t gate, int64_t i) const {
    if (inputs_.size() <= 3 || inputs_[3].bytes == nullptr) return 0;
    return static_cast<double>(
        inputs_[3].As<float>()[((direction_ * 2 + half) * cell_.gates + gate) * rule_.hidden + i]);
  }
  double Peephole(int64_t which, int64_t i) const {
    if (inputs_.size() <= 7 || inputs_[7].bytes == nullptr) return 0;
    return static_cast<double>(inputs_[7].As<float>()[(direction_ * 3 + which) * rule_.hidden + i]);
  }

  const Cell& cell_;
  const Rule& rule_;
  const std::span<const TensorView> inputs_;
  const int64_t direction_;
};

bool Goes(const Rule& rule, int64_t direction, bool backwards) {
  return (direction == 1 || rule.first_backwards) == backwards;
}

absl::Status Reference(const Cell& cell, const Node& node, std::span<const TensorView> inputs,
                       std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(cell, node));
  const Sizes sizes = SizesOf(rule, inputs[0].shape);
  const Places places{rule, sizes};
  const auto hidden = static_cast<size_t>(rule.hidden);
  const auto given = [&](size_t i) { return inputs.size() > i && inputs[i].bytes != nullptr; };
  for (Tensor& output : outputs) std::ranges::fill(output.As<float>(), 0.0f);
  for (int64_t direction = 0; direction < rule.directions; ++direction) {
    const ReferenceCell reference(cell, rule, inputs, direction);
    for (int64_t row = 0; row < sizes.batch; ++row) {
      std::vector<double> h(hidden), c(hidden);
      const int64_t state = places.State(direction, row);
      for (size_t i = 0; i < hidden; ++i) {
        if (given(5)) h[i] = static_cast<double>(inputs[5].As<float>()[static_cast<size_t>(state) + i]);
        if (given(6)) c[i] = static_cast<double>(inputs[6].As<float>()[static_cast<size_t>(state) + i]);
      }
      const int64_t length =
          given(4) ? std::clamp<int64_t>(inputs[4].As<int32_t>()[row], 0, sizes.steps) : sizes.steps;
      for (int64_t t = 0; t < length; ++t) {
        const int64_t step = Goes(rule, direction, true) ? length - 1 - t : t;
        reference.Step(inputs[0].As<float>().data() + places.X(step, row), sizes.inputs, h, c);
        for (size_t i = 0; i < hidden; ++i)
          outputs[0].As<float>()[static_cast<size_t>(places.Y(step, direction, row)) + i] =
              static_cast<float>(h[i]);
      }
      for (size_t i = 0; i < hidden; ++i) {
        if (outputs.size() > 1)
          outputs[1].As<float>()[static_cast<size_t>(state) + i] = static_cast<float>(h[i]);
        if (outputs.size() > 2)
          outputs[2].As<float>()[static_cast<size_t>(state) + i] = static_cast<float>(c[i]);
      }
    }
  }
  return absl::OkStatus();
}

// 1 / (1 + e^-x) and tanh of each element.
void Sigmoids(std::span<float> x) {
  for (float& element : x) element = -element;
  ApplyUnary(UnaryFunction::kExp, x, x);
  for (float& element : x) element = 1.0f / (1.0f + element);
}

void Tanhs(std::span<float> x) {
  for (float& element : x) element *= 2;
  Sigmoids(x);
  for (float& element : x) element = 2 * element - 1;
}

// A weight input's matrices as panels, one direction's after the other's: of bytes where the products are of
// integers. R's last gate has a matrix of its own where a GRU keeps what it recalls apart.
class PackedGates {
 public:
  // Packs the constant, once for all plans.
  static absl::StatusOr<PackedGates> Of(const std::shared_ptr<const Tensor>& tensor,
                                        std::vector<int64_t> columns, bool bytes, WeightCache& weights) {
    PackedGates gates(tensor->shape()[2], std::move(columns), bytes);
    const std::string name = absl::StrCat("hachi_recurrent_", gates.columns_.size(), bytes ? "_s8" : "");
    ASSIGN_OR_RETURN(gates.panels_, weights.GetOrPack(tensor.get(), {name.begin(), name.end()},
                                                      [&]() -> absl::StatusOr<AlignedBuffer> {
                                                        return gates.Pack(*tensor);
                                                      }));
    return gates;
  }

  // Adds the products of rows of x with matrix `i` of a direction. `scratch` has ScratchOf(x.rows).
  void AddProducts(const RowMatrix& x, int64_t direction, size_t i, std::byte* scratch, float* out,
                   int64_t out_stride) const {
    const std::byte* packed =
        panels_->data() + static_cast<size_t>(direction) * Offset(columns_.size()) + Offset(i);
    if (!bytes_)
      return AddPanelProducts(x, {reinterpret_cast<const float*>(packed), depth_, columns_[i]}, out,
                              out_stride);
    AddBytePanelProducts(x, {packed, depth_, columns_[i]},
                         {reinterpret_cast<uint8_t*>(scratch), ScratchOf(x.rows)}, out, out_stride);
  }

  size_t ScratchOf(int64_t rows) const {
    return bytes_ ? static_cast<size_t>(rows * BytePanelMatrix::PaddedDepth(depth_)) : 0;
  }

 private:
  PackedGates(int64_t depth, std::vector<int64_t> columns, bool bytes)
      : depth_(depth), columns_(std::move(columns)), bytes_(bytes) {}

  // Of the first `count` matrices of a direction.
  size_t Offset(size_t count) const {
    size_t offset = 0;
    for (size_t i = 0; i < count; ++i)
      offset += bytes_ ? BytePanelMatrix::BytesOf(depth_, columns_[i])
                       : static_cast<size_t>(depth_ * PanelMatrix::Padded(columns_[i])) * sizeof(float);
    return offset;
  }

  AlignedBuffer Pack(const Tensor& tensor) const {
    const int64_t directions = tensor.shape()[0];
    AlignedBuffer packed(static_cast<size_t>(directions) * Offset(columns_.size()));
    std::span<const float> from = tensor.As<float>();
    std::byte* to = packed.data();
    for (int64_t direction = 0; direction < directions; ++direction)
      for (size_t i = 0; i < columns_.size(); ++i) {
        const int64_t count = columns_[i];
        const size_t size = Offset(i + 1) - Offset(i), elements = static_cast<size_t>(count * depth_);
        if (bytes_)
          PackBytePanels(from.first(elements), count, depth_, to);
        else
          PackPanels(from.first(elements), count, depth_,
                     {reinterpret_cast<float*>(to), size / sizeof(float)});
        from = from.subspan(elements);
        to += size;
      }
    return packed;
  }

  std::shared_ptr<const AlignedBuffer> panels_;
  int64_t depth_;
  std::vector<int64_t> columns_;
  bool bytes_;
};

// The usual activations, no peepholes: all inputs of a direction through W at once, then step by step.
class RecurrentStep final : public KernelStep {
 public:
  RecurrentStep(const Cell& cell, const Rule& rule, const Sizes& sizes, PackedGates taken,
                PackedGates recalled)
      : KernelStep({.scratch_bytes =
                        ScratchFloats(cell, rule, sizes) * sizeof(float) +
                        std::max(taken.ScratchOf(sizes.steps * sizes.batch), recalled.ScratchOf(sizes.batch)),
                    .precision = rule.int8 ? "int8" : ""}),
        cell_(cell),
        rule_(rule),
        sizes_(sizes),
        taken_(std::move(taken)),
        recalled_(std::move(recalled)) {}

  bool Reads(size_t input) const override { return input != 1 && input != 2; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    for (int64_t direction = 0; direction < rule_.directions; ++direction) RunDirection(buffers, direction);
    return absl::OkStatus();
  }

 private:
  // Gates of every step, and of one step what a GRU recalls; states h and c, and one more h.
  static size_t ScratchFloats(const Cell& cell, const Rule& rule, const Sizes& sizes) {
    const int64_t state = sizes.batch * rule.hidden;
    return static_cast<size_t>((sizes.steps + 1) * cell.gates * state + 3 * state);
  }

  void RunDirection(const StepBuffers& buffers, int64_t direction) const {
    const int64_t hidden = rule_.hidden, width = cell_.gates * hidden, state = sizes_.batch * hidden;
    const Places places{rule_, sizes_};
    const auto input = [&](size_t i) {
      return i < buffers.inputs.size() ? reinterpret_cast<const float*>(buffers.inputs[i]) : nullptr;
    };
    const auto output = [&](size_t i) {
      return i < buffers.outputs.size() ? reinterpret_cast<float*>(buffers.outputs[i]) : nullptr;
    };
    const float* lengths_as_floats = input(4);
    const auto* lengths = reinterpret_cast<const int32_t*>(lengths_as_floats);
    const float* bias = input(3) == nullptr ? nullptr : input(3) + direction * 2 * width;
    auto* gates = reinterpret_cast<float*>(buffers.scratch);
    float* recalled = gates + sizes_.steps * sizes_.batch * width;
    float* h = recalled + sizes_.batch * width;
    float* c = h + state;
    float* kept = c + state;
    auto* bytes = reinterpret_cast<std::byte*>(kept + state);

    // A GRU's last gate keeps what it recalls apart.
    const bool gru = cell_.kind == CellKind::kGru;
    for (int64_t i = 0; i < sizes_.steps * sizes_.batch; ++i)
      for (int64_t g = 0; g < width; ++g) {
        const bool apart = gru && g >= 2 * hidden;
        gates[i * width + g] = bias == nullptr ? 0.0f : bias[g] + (apart ? 0.0f : bias[width + g]);
      }
    taken_.AddProducts({input(0), sizes_.steps * sizes_.batch, sizes_.inputs, sizes_.inputs}, direction, 0,
                       bytes, gates, width);
    for (int64_t row = 0; row < sizes_.batch; ++row)
      for (int64_t i = 0; i < hidden; ++i) {
        const int64_t at = places.State(direction, row) + i;
        h[row * hidden + i] = input(5) == nullptr ? 0.0f : input(5)[at];
        c[row * hidden + i] = input(6) == nullptr ? 0.0f : input(6)[at];
      }
    const bool backwards = Goes(rule_, direction, true);
    for (int64_t t = 0; t < sizes_.steps; ++t) {
      const int64_t step = backwards ? sizes_.steps - 1 - t : t;
      RunStep(direction, bias == nullptr ? nullptr : bias + width + 2 * hidden, gates, step, lengths,
              recalled, h, c, kept, bytes);
      for (int64_t row = 0; row < sizes_.batch; ++row) {
        float* y = output(0) + places.Y(step, direction, row);
        const bool runs = lengths == nullptr || step < lengths[row];
        for (int64_t i = 0; i < hidden; ++i) y[i] = runs ? h[row * hidden + i] : 0.0f;
      }
    }
    for (int64_t row = 0; row < sizes_.batch; ++row)
      for (int64_t i = 0; i < hidden; ++i) {
        const int64_t at = places.State(direction, row) + i;
        if (output(1) != nullptr) output(1)[at] = h[row * hidden + i];
        if (output(2) != nullptr) output(2)[at] = c[row * hidden + i];
      }
  }

  // Rows whose sequence is over keep their states.
  void RunStep(int64_t direction, const float* recall_bias, float* gates, int64_t step,
               const int32_t* lengths, float* recalled, float* h, float* c, float* kept,
               std::byte* bytes) const {
    const int64_t hidden = rule_.hidden, width = cell_.gates * hidden;
    const auto rows = [&](const float* state) { return RowMatrix{state, sizes_.batch, hidden, hidden}; };
    const auto first_row = [&](int64_t row) {  // the step's gates of that row
      return gates + (rule_.batch_first ? row * sizes_.steps + step : step * sizes_.batch + row) * width;
    };
    const int64_t row_stride = rule_.batch_first ? sizes_.steps * width : width;
    recalled_.AddProducts(rows(h), direction, 0, bytes, first_row(0), row_stride);
    if (cell_.kind == CellKind::kGru) {
      for (int64_t row = 0; row < sizes_.batch; ++row) {
        float* gate = first_row(row);
        Sigmoids({gate, static_cast<size_t>(2 * hidden)});
        for (int64_t i = 0; i < hidden; ++i) {
          kept[row * hidden + i] =
              rule_.resets_after ? h[row * hidden + i] : gate[hidden + i] * h[row * hidden + i];
          recalled[row * hidden + i] = recall_bias == nullptr ? 0.0f : recall_bias[i];
        }
      }
      recalled_.AddProducts(rows(kept), direction, 1, bytes, recalled, hidden);
    }
    for (int64_t row = 0; row < sizes_.batch; ++row) {
      if (lengths != nullptr && step >= lengths[row]) continue;
      float *gate = first_row(row), *own_h = h + row * hidden, *own_c = c + row * hidden;
      if (cell_.kind == CellKind::kRnn) {
        Tanhs({gate, static_cast<size_t>(hidden)});
        std::copy_n(gate, hidden, own_h);
      } else if (cell_.kind == CellKind::kGru) {
        float* candidate = gate + 2 * hidden;
        for (int64_t i = 0; i < hidden; ++i)
          candidate[i] += recalled[row * hidden + i] * (rule_.resets_after ? gate[hidden + i] : 1.0f);
        Tanhs({candidate, static_cast<size_t>(hidden)});
        for (int64_t i = 0; i < hidden; ++i) own_h[i] = (1 - gate[i]) * candidate[i] + gate[i] * own_h[i];
      } else {
        Sigmoids({gate, static_cast<size_t>(3 * hidden)});
        Tanhs({gate + 3 * hidden, static_cast<size_t>(hidden)});
        for (int64_t i = 0; i < hidden; ++i) {
          const float forget = rule_.couples ? 1 - gate[i] : gate[2 * hidden + i];
          own_c[i] = forget * own_c[i] + gate[i] * gate[3 * hidden + i];
          own_h[i] = own_c[i];
        }
        Tanhs({own_h, static_cast<size_t>(hidden)});
        for (int64_t i = 0; i < hidden; ++i) own_h[i] *= gate[hidden + i];
      }
    }
  }

  const Cell& cell_;
  const Rule rule_;
  const Sizes sizes_;
  const PackedGates taken_, recalled_;  // W and R
};

absl::StatusOr<StepMaker> Take(const Cell& cell, const LowerContext& context) {
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(cell, context.node));
  for (size_t i = 0; i < rule.activations.size(); ++i)
    if (rule.activations[i].name != cell.activations[i % cell.activations.size()])
      return absl::UnimplementedError(
          absl::StrCat("an activation is ", rule.activations[i].name, ", expected ",
                       std::string(cell.activations[i % cell.activations.size()])));
  if (context.node.input(7) != nullptr) return absl::UnimplementedError("has peepholes, expected none");
  if (std::isfinite(rule.clip)) return absl::UnimplementedError("clips, expected no clip");
  if (rule.int8 && !HasVnni(context.isa))
    return absl::UnimplementedError("products of integers need VNNI, expected a CPU that has it");
  const Value &w = *context.node.inputs[1], &r = *context.node.inputs[2];
  if (!w.is_constant() || !r.is_constant())
    return absl::UnimplementedError("weights are computed, expected constants");
  return [&cell, rule, sizes = SizesOf(rule, context.Input(0).shape), w = w.constant, r = r.constant,
          &weights = context.weights]() -> absl::StatusOr<std::unique_ptr<Step>> {
    std::vector<int64_t> apart{cell.gates * rule.hidden};
    if (cell.kind == CellKind::kGru) apart = {2 * rule.hidden, rule.hidden};
    ASSIGN_OR_RETURN(PackedGates taken, PackedGates::Of(w, {cell.gates * rule.hidden}, rule.int8, weights));
    ASSIGN_OR_RETURN(PackedGates recalled, PackedGates::Of(r, std::move(apart), rule.int8, weights));
    return std::make_unique<RecurrentStep>(cell, rule, sizes, std::move(taken), std::move(recalled));
  };
}

absl::StatusOr<RowAxis> Rows(const Cell& cell, const RowQuery& query) {
  ASSIGN_OR_RETURN(const Rule rule, RuleOf(cell, query.node));
  for (size_t i = 0; i < query.inputs.size(); ++i) {
    if (!query.inputs[i]) continue;
    const bool state = i == 5 || i == 6, lengths = i == 4;
    if (i != 0 && !state && !lengths)
      return absl::UnimplementedError(
          absl::StrCat("input ", i, " holds rows, expected the same weights for every row"));
    const size_t batch = lengths || rule.batch_first ? 0 : 1;
    if (*query.inputs[i] != batch) return MixesRows(*query.inputs[i]);
  }
  if (rule.batch_first) return RowAxis(0);
  return RowAxis(query.output == 0 ? 2 : 1);
}

int64_t Macs(const LowerContext& context) {
  const Shape x = context.Input(0).shape;
  return x[0] * x[1] * (CountOf(context.Input(1).shape) + CountOf(context.Input(2).shape));
}

OpDef DefOf(const Cell& cell) {
  return {.name = cell.name,
          .infer = [&cell](Node& node) { return Infer(cell, node); },
          .rows = [&cell](const RowQuery& query) { return Rows(cell, query); },
          .reference = [&cell](const Node& node, std::span<const TensorView> inputs,
                               std::span<Tensor> outputs) { return Reference(cell, node, inputs, outputs); },
          .offers = {{.name = "hachi_recurrent",
                      .take = [&cell](const LowerContext& context) { return Take(cell, context); }}},
          .macs = Macs};
}

}  // namespace

std::span<const OpDef> recurrent_ops() {
  static const std::vector<OpDef> defs = OpsOf(kCells, DefOf);
  return defs;
}

}  // namespace hachi
