#include "tests/ops/op_tester.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <list>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/isa.h"
#include "engine/graph/graph.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "tests/support/allocations.h"

namespace hachi {
namespace {

Tensor RandomTensor(const TensorSpec& spec, double low, double high, std::mt19937& generator) {
  Tensor tensor(spec.dtype, spec.shape);
  VisitDType(spec.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (T& element : tensor.As<T>()) {
      if constexpr (std::is_floating_point_v<T>) {
        element = static_cast<T>(std::uniform_real_distribution<double>(low, high)(generator));
      } else if constexpr (sizeof(T) == 1 && !std::is_same_v<T, bool>) {
        element = static_cast<T>(generator());
      } else {
        element = static_cast<T>(std::uniform_int_distribution<int64_t>(
            static_cast<int64_t>(std::ceil(low)), static_cast<int64_t>(high))(generator));
      }
    }
  });
  return tensor;
}

// The tensor's elements in the layout of `spec`, or back from it.
void Permute(const TensorSpec& spec, const std::byte* dense, std::byte* stored, bool to_stored) {
  const auto strides = spec.layout.StridesOf(spec.shape);
  const size_t bytes = SizeOf(spec.dtype);
  std::vector<int64_t> index(spec.shape.size(), 0);
  for (int64_t i = 0; i < spec.count(); ++i) {
    int64_t at = 0, rest = i;
    for (size_t axis = spec.shape.size(); axis-- > 0;) {
      at += rest % spec.shape[axis] * strides[axis];
      rest /= spec.shape[axis];
    }
    const std::byte* from =
        to_stored ? dense + i * static_cast<int64_t>(bytes) : stored + at * static_cast<int64_t>(bytes);
    std::byte* to = to_stored ? stored + at * static_cast<int64_t>(bytes)
                              : const_cast<std::byte*>(dense) + i * static_cast<int64_t>(bytes);
    std::memcpy(to, from, bytes);
  }
}

absl::Status Compare(const OpCase& op_case, const Tensor& got, const Tensor& want) {
  int64_t steps = 0;
  for (int64_t i = 0; i < want.count(); ++i) {
    const auto error = [&](double found, double expected) {
      return absl::InternalError(absl::StrCat("element ", i, " is ", found, ", expected ", expected));
    };
    if (want.dtype() == DType::kF32) {
      const double found = got.As<float>()[i], expected = want.As<float>()[i];
      if (!(std::abs(found - expected) <= op_case.tolerance * (1 + std::abs(expected))) && found != expected)
        return error(found, expected);
    } else {
      const int64_t found = IntegerAt(got.view(), i), expected = IntegerAt(want.view(), i);
      if (std::abs(found - expected) > 1)
        return error(static_cast<double>(found), static_cast<double>(expected));
      steps += found != expected;
    }
  }
  if (static_cast<double>(steps) > (1 - op_case.tie_share) * static_cast<double>(want.count()))
    return absl::InternalError(
        absl::StrCat(steps, " of ", want.count(), " elements are one step off, expected fewer"));
  return absl::OkStatus();
}

// The lowered form is made of the offer that the case wants.
absl::Status CheckKernel(const OpCase& op_case, const LowerContext& context, const StepInfo& info) {
  std::string_view taken = "ref";
  for (const OfferAnswer& offer : AskOffers(context))
    if (taken == "ref" && offer.answer.ok()) taken = offer.offer;
  const bool wants_reference = op_case.kernel == "ref";
  if (info.kernel.reference != wants_reference || (!op_case.kernel.empty() && taken != op_case.kernel))
    return absl::InternalError(absl::StrCat("kernel is '", info.kernel.name, "' by offer '",
                                            std::string(taken), "', expected '", std::string(op_case.kernel),
                                            "': ", info.why_reference));
  return absl::OkStatus();
}

// Runs the step; INTERNAL where that allocates.
absl::Status RunWithoutAllocating(const Step& step, StepState& state, Stream& stream) {
  const Allocations before = CountAllocations();
  RETURN_IF_ERROR(step.Run(state, stream));
  const Allocations after = CountAllocations();
  const std::string& kernel = step.info().kernel.name;
  const bool ours = kernel.starts_with("hachi_") || kernel == "ref";
  const int64_t made = ours ? after.all - before.all : after.large - before.large;
  if (made > 0)
    return absl::InternalError(
        absl::StrCat("kernel '", kernel, "': a run allocates ", made, " times, expected never"));
  return absl::OkStatus();
}

// Memory that a step writes, and a margin on either side that it must not.
class Guarded {
 public:
  explicit Guarded(size_t bytes) : buffer_(bytes + 2 * kMargin) {
    std::memset(buffer_.data(), static_cast<int>(kMark), buffer_.size());
  }

  std::byte* data() { return buffer_.data() + kMargin; }

  bool IsIntact() const {
    for (size_t i = 0; i < kMargin; ++i)
      if (buffer_.data()[i] != kMark || buffer_.data()[buffer_.size() - 1 - i] != kMark) return false;
    return true;
  }

 private:
  static constexpr size_t kMargin = 256;
  static constexpr std::byte kMark{0xA5};
  AlignedBuffer buffer_;
};

// What the step makes of inputs that lie as the node's values say, `inputs`; dense.
absl::StatusOr<std::vector<Tensor>> RunStep(const Step& step, const LowerContext& context,
                                            const std::vector<const std::byte*>& inputs,
                                            bool may_allocate = false) {
  const Node& node = context.node;
  StepBuffers buffers{.inputs = inputs, .outputs = {}};
  std::vector<Guarded> results;
  for (const Value* output : node.outputs) {
    results.emplace_back(static_cast<size_t>(context.Spec(output).bytes()));
    buffers.outputs.push_back(results.back().data());
  }
  const int residual = step.info().in_place_input;
  if (residual >= 0) buffers.inputs[residual] = buffers.outputs[0];
  AlignedBuffer scratch(step.info().scratch_bytes);
  buffers.scratch = scratch.data();
  const auto state = step.Bind(std::move(buffers));
  // Twice: the library puts some of its work off until a first run.
  Stream stream;
  for (const bool again : {false, true}) {
    if (residual >= 0)
      std::memcpy(results[0].data(), inputs[residual],
                  static_cast<size_t>(context.Input(static_cast<size_t>(residual)).bytes()));
    RETURN_IF_ERROR(again && !may_allocate ? RunWithoutAllocating(step, *state, stream)
                                           : step.Run(*state, stream));
  }
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const TensorSpec spec = context.Spec(node.outputs[i]);
    outputs.emplace_back(spec.dtype, spec.shape);
    Permute(spec, outputs.back().bytes().data(), results[i].data(), /*to_stored=*/false);
    if (!results[i].IsIntact())
      return absl::InternalError(
          absl::StrCat("output ", i, ": memory around it was written, expected it untouched"));
  }
  return outputs;
}

}  // namespace

bool SumsBytesExactly() { return HasVnni(DetectIsa()); }

absl::Status RunOpCase(const OpCase& op_case) {
  omp_set_num_threads(op_case.threads);
  ASSIGN_OR_RETURN(Graph graph, ParseGraph(op_case.graph));
  Node& node = *graph.nodes().front();
  const std::vector<std::optional<SymbolicShape>> declared = [&] {
    std::vector<std::optional<SymbolicShape>> dims;
    for (const Value* output : node.outputs) dims.push_back(output->dims);
    return dims;
  }();
  RETURN_IF_ERROR(InferNode(node));
  for (size_t i = 0; i < declared.size(); ++i)
    if (declared[i] && declared[i] != node.outputs[i]->dims)
      return absl::InternalError(absl::StrCat("output ", i, " has shape ", ShapeText(*node.outputs[i]->dims),
                                              ", expected ", ShapeText(*declared[i])));
  // The text gives [?] no rank, so a layout can be asked for only where dims are declared.
  WeightCache cache;
  const Bindings bindings;
  const LowerContext context{node, bindings, op_case.threads, cache};
  ASSIGN_OR_RETURN(const auto step, LowerNode(context));
  if (SumsBytesExactly()) RETURN_IF_ERROR(CheckKernel(op_case, context, step->info()));

  std::mt19937 generator(1);
  std::vector<Tensor> dense, stored;
  std::vector<TensorView> views;
  std::vector<const std::byte*> inputs;
  dense.reserve(node.inputs.size());
  stored.reserve(node.inputs.size());
  for (const Value* input : node.inputs) {
    if (input == nullptr) {
      views.emplace_back();
      inputs.push_back(nullptr);
      continue;
    }
    const TensorSpec spec = context.Spec(input);
    if (input->is_constant()) {
      views.push_back(input->constant->view());
      inputs.push_back(input->constant->bytes().data());
      continue;
    }
    dense.push_back(RandomTensor(spec, op_case.low, op_case.high, generator));
    views.push_back(dense.back().view());
    stored.emplace_back(spec.dtype, spec.shape);
    Permute(spec, dense.back().bytes().data(), stored.back().bytes().data(), /*to_stored=*/true);
    inputs.push_back(stored.back().bytes().data());
  }
  ASSIGN_OR_RETURN(const std::vector<Tensor> want, RunReference(node, views, bindings));
  ASSIGN_OR_RETURN(const std::vector<Tensor> got, RunStep(*step, context, inputs));
  for (size_t i = 0; i < want.size(); ++i) RETURN_IF_ERROR(Compare(op_case, got[i], want[i]));

  LowerContext plain = context;
  plain.kernel = "ref";
  ASSIGN_OR_RETURN(const auto reference, LowerNode(plain));
  ASSIGN_OR_RETURN(const std::vector<Tensor> again,
                   RunStep(*reference, plain, inputs, !op_case.reference_allocates.empty()));
  for (size_t i = 0; i < want.size(); ++i)
    if (!std::ranges::equal(again[i].bytes(), want[i].bytes()))
      return absl::InternalError(absl::StrCat("output ", i, " of the reference as a step is another"));
  return absl::OkStatus();
}

absl::StatusOr<std::string> InferText(std::string_view graph_text) {
  ASSIGN_OR_RETURN(Graph graph, ParseGraph(graph_text));
  for (Node* node : graph.NodeList()) RETURN_IF_ERROR(InferNode(*node));
  const Node& last = *graph.nodes().back();
  const std::string text = ToText(last);
  std::string outputs = text.substr(text.rfind(" -> ") + 4);
  if (last.outputs[0]->content) absl::StrAppend(&outputs, " = ", ShapeText(*last.outputs[0]->content));
  return outputs;
}

absl::StatusOr<std::vector<Tensor>> RunReferences(std::string_view graph_text) {
  ASSIGN_OR_RETURN(Graph graph, ParseGraph(graph_text));
  std::map<const Value*, TensorView> views;
  for (const auto& [name, value] : graph.values())
    if (value->is_constant()) views[value.get()] = value->constant->view();
  std::list<std::vector<Tensor>> results;
  for (Node* node : graph.NodeList()) {
    RETURN_IF_ERROR(InferNode(*node));
    std::vector<TensorView> inputs;
    for (const Value* input : node->inputs)
      inputs.push_back(input == nullptr ? TensorView{} : views.at(input));
    ASSIGN_OR_RETURN(std::vector<Tensor> outputs, RunReference(*node, inputs, Bindings{}));
    results.push_back(std::move(outputs));
    for (size_t i = 0; i < node->outputs.size(); ++i) views[node->outputs[i]] = results.back()[i].view();
  }
  return std::move(results.back());
}

}  // namespace hachi
