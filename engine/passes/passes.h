#pragma once

#include "absl/status/status.h"
#include "engine/passes/pass.h"

// The passes, one a file; pipeline.cc says in which order they run. Each expects types and shapes inferred.
namespace hachi {

// Removes what does nothing at inference: Identity, Dropout, Cast to the type that is there.
absl::Status RemoveIdentities(Graph& graph, const PassOptions& options);

// Replaces nodes whose inputs are constants, and computed integers that inference knows (shape arithmetic),
// by constants. One that was dequantized remembers its integers (Value::integers).
absl::Status FoldConstants(Graph& graph, const PassOptions& options);

// Gemm whose matrices are multiplied by one number, its constant operands being scaled; one of two computed
// matrices becomes a MatMul.
absl::Status SimplifyGemm(Graph& graph, const PassOptions& options);

// Einsum of two operands with at most one axis of rows, one of columns and one that is summed -> Transpose,
// MatMul.
absl::Status DecomposeEinsum(Graph& graph, const PassOptions& options);

// A layer normalization that exporters wrote as means, a square root and arithmetic -> LayerNormalization.
// Takes PyTorch's form ((x - mean) / deviation * scale + bias) and TensorFlow's (x * factor + (bias - mean *
// factor)).
absl::Status FuseLayerNorm(Graph& graph, const PassOptions& options);

// x / 2 * (1 + erf(x / sqrt(2))), in whatever order it is multiplied -> Gelu.
absl::Status FuseGelu(Graph& graph, const PassOptions& options);

// x × sigmoid(alpha x), x × min(max(x + 3, 0), 6) / 6, x × tanh(softplus(x)), and x / 2 × (1 + tanh(...)), in
// the forms that exporters write -> Swish, HardSwish, Mish, Gelu. Max and Min with one number -> Clip.
absl::Status FuseActivations(Graph& graph, const PassOptions& options);

// Pad in front of Conv, MaxPool or AveragePool -> the window's own pads, where it fills as those do.
absl::Status FoldPads(Graph& graph, const PassOptions& options);

// Conv or ConvTranspose, BatchNormalization -> the convolution with other weights and bias.
absl::Status FoldBatchNormalization(Graph& graph, const PassOptions& options);

// A product of constant weights, Add of one number or of one for each channel -> the product with another
// bias.
absl::Status FuseBias(Graph& graph, const PassOptions& options);

// DynamicQuantizeLinear, a product with constant integers, and what scales the sums -> a product of integers
// and RescaleRows. With PassOptions::dynamic, every product of a constant matrix becomes that;
// with PassOptions::int8_weights, an Int8WeightProduct.
absl::Status FuseDynamicProducts(Graph& graph, const PassOptions& options);

// Mul or Div by one number, or Mul by one for each channel, behind a product -> a product with other weights
// and bias, or, where both operands are computed, with a linear post-op.
absl::Status FoldScales(Graph& graph, const PassOptions& options);

// Activations, additions of a tensor of equal shape (residuals) and, behind products, arithmetic with one
// number become post-ops of the node that makes their input, where nobody else reads that. Of two makers of
// an addition the later one takes it.
absl::Status FusePostOps(Graph& graph, const PassOptions& options);

// Heads of attention in models of INT8: products, mask, softmax and the transposes around them ->
// FusedAttention. A pin of one of the products to FP32, or decisions that name one, leave them as they are.
absl::Status FuseAttention(Graph& graph, const PassOptions& options);

// Sets the layout of every value: channels-last around the operators that want it, row-major elsewhere, with
// Reorder nodes between. Graph inputs come in the layout of their first reader.
absl::Status AssignLayouts(Graph& graph, const PassOptions& options);

// Puts QuantizeLinear, DequantizeLinear pairs on what INT8 nodes read, before its first reader, and gives
// their weights integers (Value::integers). Does nothing without a table. INVALID_ARGUMENT: the table lacks a
// tensor, a pin matches no node.
absl::Status PlaceQuantizers(Graph& graph, const PassOptions& options);

// DequantizeLinear -> operator -> QuantizeLinear become the operator on typed values with QuantParams, where
// it has a meaning for integers (OpDef::quantize), writes them (OpDef::quantizes_output) or reads shapes
// alone (OpDef::reads_elements); a QuantizeLinear that alone reads a graph input becomes the type of that
// input. What can't be folded stays, and runs as written.
absl::Status FoldQuantizers(Graph& graph, const PassOptions& options);

// Products and convolutions of real numbers that are pinned to BF16, or with PassOptions::bf16 not pinned,
// read BF16 and sum in FP32; what one makes for another is BF16, too. Cast nodes stand between them and the
// others.
absl::Status PlaceBf16(Graph& graph, const PassOptions& options);

}  // namespace hachi
