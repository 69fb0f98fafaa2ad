#include "engine/ops/op.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"

namespace hachi {

#define HACHI_OPS(file) std::span<const OpDef> file##_ops();
#include "op_list.inc"
#undef HACHI_OPS

namespace {

constexpr std::string_view kReferenceKernel = "ref";

std::vector<const OpDef*> SortedOps() {
  std::vector<const OpDef*> ops;
#define HACHI_OPS(file) \
  for (const OpDef& op : file##_ops()) ops.push_back(&op);
#include "op_list.inc"
#undef HACHI_OPS
  std::sort(ops.begin(), ops.end(), [](const OpDef* a, const OpDef* b) { return a->name < b->name; });
  return ops;
}

// Copies between a dense row-major tensor and the same elements in another layout.
void CopyElements(const std::byte* from, std::span<const int64_t> from_strides, std::byte* to,
                  std::span<const int64_t> to_strides, std::span<const int64_t> shape, size_t element_bytes) {
  if (CountOf(shape) == 0) return;
  AxisNumbers index(shape.size(), 0);
  int64_t from_at = 0, to_at = 0;
  for (;;) {
    std::memcpy(to + to_at * static_cast<int64_t>(element_bytes),
                from + from_at * static_cast<int64_t>(element_bytes), element_bytes);
    size_t axis = shape.size();
    while (axis-- > 0) {
      from_at += from_strides[axis];
      to_at += to_strides[axis];
      if (++index[axis] < shape[axis]) break;
      from_at -= from_strides[axis] * shape[axis];
      to_at -= to_strides[axis] * shape[axis];
      index[axis] = 0;
    }
    if (axis == static_cast<size_t>(-1)) return;
  }
}

// The definition of an operator as a step: correct and slow. For leftovers off the hot path.
class ReferenceStep final : public Step {
 public:
  ReferenceStep(const LowerContext& context, const OpDef& op, std::string why)
      : Step({.kernel = {.name = std::string(kReferenceKernel), .isa = context.isa, .reference = true},
              .why_reference = std::move(why)}),
        op_(op) {
    node_.name = context.node.name;
    node_.op = context.node.op;
    node_.attrs = context.node.attrs;
    node_.post_ops = context.node.post_ops;
    // The step outlives the graph, so it keeps values of its own.
    const auto keep = [&](const Value* value, std::vector<Operand>& operands) -> Value* {
      if (value == nullptr) {
        operands.emplace_back();
        return nullptr;
      }
      auto copy = std::make_unique<Value>();
      copy->name = value->name;
      copy->dtype = value->dtype;
      copy->dims = value->dims;
      copy->quant = value->quant;
      copy->constant = value->constant;
      operands.push_back(Operand::Of(context.Spec(value)));
      values_.push_back(std::move(copy));
      return values_.back().get();
    };
    for (const Value* input : context.node.inputs) node_.inputs.push_back(keep(input, inputs_));
    for (const Value* output : context.node.outputs) node_.outputs.push_back(keep(output, outputs_));
  }

  // Inference has read what is a shape; what stands for its own shape alone has no elements to read.
  bool Reads(size_t input) const override {
    return op_.reads_elements && op_.shape_input != static_cast<int>(input);
  }

  std::unique_ptr<StepState> Bind(StepBuffers buffers) const override {
    auto state = std::make_unique<State>();
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const TensorSpec& spec = inputs_[i].spec;
      const bool there = node_.inputs[i] != nullptr;
      Tensor& dense =
          state->inputs.emplace_back(spec.dtype, there && !inputs_[i].dense ? spec.shape : Shape{0});
      state->views.push_back(!there             ? TensorView()
                             : inputs_[i].dense ? TensorView{spec.dtype, spec.shape, buffers.inputs[i]}
                                                : dense.view());
    }
    for (const Operand& output : outputs_) state->outputs.emplace_back(output.spec.dtype, output.spec.shape);
    state->buffers = std::move(buffers);
    return state;
  }

  absl::Status Run(StepState& step_state, Stream& /*stream*/) const override {
    auto& state = static_cast<State&>(step_state);
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (node_.inputs[i] == nullptr || inputs_[i].dense || !Reads(i)) continue;
      const Operand& input = inputs_[i];
      CopyElements(state.buffers.inputs[i], input.strides, state.inputs[i].bytes().data(),
                   input.dense_strides, input.spec.shape, SizeOf(input.spec.dtype));
    }
    for (Tensor& output : state.outputs) std::ranges::fill(output.bytes(), std::byte{0});
    RETURN_IF_ERROR(op_.reference(node_, state.views, state.outputs));
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const Operand& output = outputs_[i];
      CopyElements(state.outputs[i].bytes().data(), output.dense_strides, state.buffers.outputs[i],
                   output.strides, output.spec.shape, SizeOf(output.spec.dtype));
    }
    return absl::OkStatus();
  }

 private:
  // What the reference reads or writes, and how that lies in the step's buffers.
  struct Operand {
    TensorSpec spec;
    std::vector<int64_t> strides, dense_strides;
    bool dense = false;  // the same

    static Operand Of(TensorSpec spec) {
      Operand operand{.strides = spec.layout.StridesOf(spec.shape),
                      .dense_strides = Layout().StridesOf(spec.shape),
                      .dense = spec.layout.SameBytes(Layout(), spec.shape)};
      operand.spec = std::move(spec);
      return operand;
    }
  };

  // Dense copies of what is not dense in the buffers.
  struct State : StepState {
    StepBuffers buffers;
    std::vector<Tensor> inputs, outputs;
    std::vector<TensorView> views;
  };

  const OpDef& op_;
  Node node_;
  std::vector<std::unique_ptr<Value>> values_;
  std::vector<Operand> inputs_, outputs_;
};

// The step of a node whose outputs have no elements.
class NothingStep final : public Step {
 public:
  explicit NothingStep(Isa isa) : Step({.kernel = {.name = "nothing", .isa = isa}}) {}

  bool Reads(size_t /*input*/) const override { return false; }
  std::unique_ptr<StepState> Bind(StepBuffers /*buffers*/) const override {
    return std::make_unique<StepState>();
  }
  absl::Status Run(StepState& /*state*/, Stream& /*stream*/) const override { return absl::OkStatus(); }
};

bool IsEmpty(const LowerContext& context, const Value* value) {
  return value != nullptr && context.Spec(value).count() == 0;
}

absl::Status UnknownOperator(const Node& node) {
  return absl::UnimplementedError(
      absl::StrCat("node '", node.name, "': operator '", node.op, "' is not supported"));
}

absl::StatusOr<StepMaker> Ask(const Offer& offer, const LowerContext& context) {
  if (context.isa < offer.needs)
    return absl::UnimplementedError(absl::StrCat("the rung is ", std::string(NameOf(context.isa)),
                                                 ", expected ", std::string(NameOf(offer.needs)),
                                                 " or higher"));
  return offer.take(context);
}

absl::StatusOr<std::unique_ptr<Step>> Make(const Offer& offer, StepMaker& maker,
                                           const LowerContext& context) {
  ASSIGN_OR_RETURN(std::unique_ptr<Step> step, maker());
  // Steps of the library know better. Kernels of ours that need no VNNI don't use it.
  if (step->info().kernel.name.empty())
    step->set_kernel({.name = std::string(offer.name), .isa = context.isa, .vnni = HasVnni(offer.needs)});
  return step;
}

// What inference made of a value is within what everything behind it can count.
absl::Status CheckInferred(Value& value) {
  if (!value.dims) return absl::OkStatus();
  const auto refused = [&](std::string_view expected) {
    return absl::ResourceExhaustedError(absl::StrCat("output '", value.name, "' has shape ",
                                                     ShapeText(*value.dims), ", expected ",
                                                     std::string(expected)));
  };
  if (value.rank() > kMaxRank) return refused(absl::StrCat("at most ", kMaxRank, " dimensions"));
  Shape numbers;
  for (const Dim& dim : *value.dims) {
    if (dim.is_too_complex())
      return refused(absl::StrCat("dimensions of at most ", Dim::kMaxTerms, " terms and ", Dim::kMaxTextBytes,
                                  " bytes of text"));
    if (const auto number = dim.constant()) numbers.push_back(*number);
  }
  if (value.content && (static_cast<int64_t>(value.content->size()) > kMaxContent ||
                        std::ranges::any_of(*value.content, &Dim::is_too_complex)))
    value.content.reset();
  return WithContext(CheckShape(numbers, SizeOf(value.dtype)), absl::StrCat("output '", value.name, "'"));
}

absl::Status CheckForcedKernel(const LowerContext& context, const OpDef& op) {
  if (context.kernel.empty() || context.kernel == kReferenceKernel) return absl::OkStatus();
  std::string names;
  for (const Offer& offer : op.offers) {
    if (offer.name == context.kernel) return absl::OkStatus();
    absl::StrAppend(&names, std::string(offer.name), ", ");
  }
  return absl::InvalidArgumentError(absl::StrCat("kernel is '", std::string(context.kernel),
                                                 "', expected one of ", names,
                                                 std::string(kReferenceKernel)));
}

}  // namespace

bool IsOp(std::string_view name) { return FindOp(name) != nullptr; }

std::span<const OpDef* const> AllOps() {
  static const std::vector<const OpDef*>* ops = new std::vector<const OpDef*>(SortedOps());
  return *ops;
}

const OpDef* FindOp(std::string_view name) {
  const auto ops = AllOps();
  const auto found = std::lower_bound(ops.begin(), ops.end(), name,
                                      [](const OpDef* op, std::string_view n) { return op->name < n; });
  return found != ops.end() && (*found)->name == name ? *found : nullptr;
}

TensorSpec LowerContext::Spec(const Value* value) const {
  TensorSpec spec{value->dtype, {}, value->layout, value->quant};
  for (const Dim& dim : *value->dims) spec.shape.push_back(dim.Evaluate(bindings).value());
  return spec;
}

absl::Status InferNode(Node& node) {
  const OpDef* op = FindOp(node.op);
  if (op == nullptr) return UnknownOperator(node);
  absl::Status status = op->infer(node);
  for (size_t i = 0; i < node.outputs.size() && status.ok(); ++i) status = CheckInferred(*node.outputs[i]);
  return WithContext(status, absl::StrCat("node '", node.name, "' (", node.op, ")"));
}

absl::StatusOr<std::vector<Tensor>> RunReference(const Node& node, std::span<const TensorView> inputs,
                                                 const Bindings& bindings) {
  const OpDef* op = FindOp(node.op);
  if (op == nullptr) return UnknownOperator(node);
  const auto context = [&](const absl::Status& status) {
    return WithContext(status, absl::StrCat("node '", node.name, "' (", node.op, ")"));
  };
  if (op->check_values != nullptr) RETURN_IF_ERROR(context(op->check_values(node, inputs)));
  std::vector<Tensor> outputs;
  for (const Value* output : node.outputs) {
    ASSIGN_OR_RETURN(Shape shape, Evaluate(*output->dims, bindings));
    RETURN_IF_ERROR(CheckedCount(shape, SizeOf(output->dtype)).status());
    outputs.emplace_back(output->dtype, std::move(shape));
  }
  RETURN_IF_ERROR(context(op->reference(node, inputs, outputs)));
  return outputs;
}

absl::StatusOr<std::unique_ptr<Step>> LowerNode(const LowerContext& context) {
  const OpDef* op = FindOp(context.node.op);
  if (op == nullptr) return UnknownOperator(context.node);
  RETURN_IF_ERROR(CheckForcedKernel(context, *op));
  // How much a run finds may be nothing: kernels need not know.
  const auto is_empty = [&](const Value* value) { return IsEmpty(context, value); };
  if (std::ranges::all_of(context.node.outputs, is_empty)) return std::make_unique<NothingStep>(context.isa);
  if (std::ranges::any_of(context.node.inputs, is_empty))
    return std::make_unique<ReferenceStep>(context, *op, "an input has no elements");
  std::string reasons;
  for (const Offer& offer : op->offers) {
    if (!context.kernel.empty() && context.kernel != offer.name) continue;
    auto maker = Ask(offer, context);
    if (maker.ok()) return Make(offer, *maker, context);
    if (!absl::IsUnimplemented(maker.status())) return maker.status();
    absl::StrAppend(&reasons, reasons.empty() ? "" : "; ", std::string(offer.name), ": ",
                    std::string(maker.status().message()));
  }
  if (context.kernel == kReferenceKernel) {
    reasons = "it was asked for";
  } else if (!context.kernel.empty()) {
    return absl::UnimplementedError(reasons);
  } else if (reasons.empty()) {
    reasons = "the operator has no kernel";
  }
  return std::make_unique<ReferenceStep>(context, *op, std::move(reasons));
}

std::vector<OfferAnswer> AskOffers(const LowerContext& context) {
  std::vector<OfferAnswer> answers;
  if (const OpDef* op = FindOp(context.node.op); op != nullptr)
    for (const Offer& offer : op->offers) answers.push_back({offer.name, Ask(offer, context).status()});
  return answers;
}

}  // namespace hachi
