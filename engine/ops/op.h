#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/cpu/isa.h"
#include "engine/graph/graph.h"
#include "engine/ops/rows.h"
#include "engine/ops/step.h"
#include "engine/product/weight_cache.h"
#include "engine/tensor/tensor.h"
#include "engine/tensor/tensor_spec.h"

namespace hachi {

// What a node is lowered for.
struct LowerContext {
  const Node& node;
  const Bindings& bindings;  // of every symbol
  int threads;
  WeightCache& weights;
  Isa isa = DetectIsa();  // the highest rung for kernels of ours; the library's follow the process's
  std::string_view kernel =
      "";  // the name of the offer to use, "ref" for none; empty: the first that takes it

  // A value of the node, with its shape made concrete.
  TensorSpec Spec(const Value* value) const;
  TensorSpec Input(size_t i) const { return Spec(node.inputs[i]); }
  TensorSpec Output() const { return Spec(node.outputs[0]); }
};

// Makes the step that an offer promised: packs weights, generates code. Called once at most, while the
// LowerContext lives.
using StepMaker = absl::AnyInvocable<absl::StatusOr<std::unique_ptr<Step>>()>;

// A kernel that an operator can run on.
struct Offer {
  std::string_view name;   // unique in the operator; the kernel's own, where the library names its kernels
  Isa needs = Isa::kAvx2;  // the lowest rung that has it

  // Whether the kernel takes the node, and then how it is made. UNIMPLEMENTED: it doesn't, for the reason
  // that the message says. Cheap beside making it.
  std::function<absl::StatusOr<StepMaker>(const LowerContext& context)> take;
};

// What an offer said of a node: OK, or why not.
struct OfferAnswer {
  std::string_view offer;
  absl::Status answer;
};

// How an operator takes part in quantization.
enum class QuantRule {
  kNone,       // stays FP32
  kWeighted,   // u8/s8 activations × s8 weights, any output quantizer: Conv, Gemm, MatMul
  kKeepScale,  // output integers mean what the input's mean: MaxPool, Reshape, Transpose
  kRescale,    // computes on integers with the scales of its inputs and output: Add, AveragePool
};

// An operator as data. A file of one operator, or of a family that differs in rows of a table, gives its
// OpDefs and is a word in CMakeLists.txt.
struct OpDef {
  std::string_view name;  // the ONNX operator, newest form as engine/onnx/upgrade leaves it; or one of ours

  // Checks attributes and inputs; sets dtype, dims (and content, where known) of the outputs.
  // INVALID_ARGUMENT or UNIMPLEMENTED; the caller adds model and node to the message. Inputs are inferred
  // already.
  std::function<absl::Status(Node& node)> infer;

  QuantRule quantize = QuantRule::kNone;

  // Of kWeighted: the axis of input 1 along which each index may have a scale, that of output channels.
  size_t (*channel_axis)(const Node& node) = nullptr;

  // Of kWeighted: whether kernels take weights of that shape, and the node's attributes, in INT8. REQUIRES:
  // weights and bias are constants.
  bool (*has_integer_kernels)(const Node& node) = nullptr;

  // Whether the kernel of an operator that stays FP32 (kNone) can store integers all the same, and read them
  // as input 0: the node then takes over the QuantizeLinear behind it.
  bool quantizes_output = false;

  // Whether it reads the elements of its inputs, and not their shapes alone.
  bool reads_elements = true;

  // How the node treats the rows of a batch; null: it is taken to mix them.
  RowRule rows = nullptr;

  // The input that inference alone reads, as the dimensions of the output; -1: none.
  int shape_input = -1;

  // The input whose integers pick elements of input 0 along the attribute `axis`; -1: none.
  int index_input = -1;

  // Whether integers of the output are those of input 0, as they are where it keeps their scale (kKeepScale).
  bool passes_integers = false;

  // The axis of an output along which it has as many elements as a run finds; null, or nullopt of an output:
  // inference knows its shape. See engine/ops/measured.h.
  std::optional<size_t> (*measured_axis)(const Node& node, size_t output) = nullptr;

  // Whether the definition has an answer for these values; null: for all. INVALID_ARGUMENT saying what has
  // none. Asked where constants are folded and in calibration, not in a run: there a value is one request's
  // among others'.
  absl::Status (*check_values)(const Node& node, std::span<const TensorView> inputs) = nullptr;

  // The definition of the right answer: plain loops on dense row-major tensors, for real and (where
  // `quantize` says so) quantized values. The node's values say the quantization; post_ops are applied. Also
  // folds constants. Outputs come allocated with dtype and shape. Shares no code with the offers. No values
  // make it fail, also those that check_values refuses.
  std::function<absl::Status(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs)>
      reference;

  // Its kernels, the preferred first. A node that none takes runs its reference as a step (kernel "ref").
  std::vector<Offer> offers;

  // Whether the operator takes activations channels-last (rank 3 and up): it then wants them so.
  bool channels_last = false;

  // Whether elements map one to one or along axes, so that any layout will do as long as input and output
  // share it.
  bool layout_agnostic = false;

  // The post-op that does to each element what the node does, so that it can be fused behind what makes
  // input 0; null: none. UNIMPLEMENTED where this node has none, having bounds that are computed, say.
  absl::StatusOr<PostOp> (*as_post_op)(const Node& node) = nullptr;

  // Whether the node's own kernels apply post-ops, so that others can be fused behind it.
  bool fuses_post_ops = false;

  // The input that a fused residual (PostOp::Kind::kAdd) becomes; -1: it takes none.
  int residual_input = -1;

  // Multiply-adds for concrete shapes; null: none.
  int64_t (*macs)(const LowerContext& context) = nullptr;
};

// The operator of that name, or null.
const OpDef* FindOp(std::string_view name);

// Whether there is one.
bool IsOp(std::string_view name);

// Every operator that is built in, sorted by name.
std::span<const OpDef* const> AllOps();

// Runs infer over the node through its OpDef, with the node named in errors. UNIMPLEMENTED for unknown
// operators.
absl::Status InferNode(Node& node);

// Checks the values and runs the reference; allocates the outputs. REQUIRES: outputs' dims evaluate with
// `bindings`.
absl::StatusOr<std::vector<Tensor>> RunReference(const Node& node, std::span<const TensorView> inputs,
                                                 const Bindings& bindings);

// Lowers to the first offer that takes the node, or to the one that the context names; to the reference where
// none does. INVALID_ARGUMENT: no offer has that name; UNIMPLEMENTED: it has, and doesn't take the node.
absl::StatusOr<std::unique_ptr<Step>> LowerNode(const LowerContext& context);

// Every offer's answer, in order.
std::vector<OfferAnswer> AskOffers(const LowerContext& context);

}  // namespace hachi
