// The list of passes, and what runs it.
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/op.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

constexpr Pass kPrepare[] = {
    // Training leftovers go first, so that every later pattern finds producer and user side by side.
    {"remove_identities", RemoveIdentities},
    // Weights computed in the graph, shapes that reshapes ask for.
    {"fold_constants", FoldConstants},
};

constexpr Pass kObserve[] = {
    {"assign_layouts", AssignLayouts},
};

constexpr Pass kOptimize[] = {
    // What exporters take apart, before its pieces are fused to something else.
    {"fuse_layer_norm", FuseLayerNorm},
    {"fuse_gelu", FuseGelu},
    // Into weights, before activations can hide the convolution from the normalization.
    {"fold_batch_normalization", FoldBatchNormalization},
    {"fuse_bias", FuseBias},
    // With the biases, which a scale behind a product takes along.
    {"fold_scales", FoldScales},
    // What is left behind a convolution or product is computed on its accumulators.
    {"fuse_post_ops", FusePostOps},
    // Quantizers copy the layouts of what they quantize.
    {"assign_layouts", AssignLayouts},
    {"place_quantizers", PlaceQuantizers},
    {"fold_quantizers", FoldQuantizers},
};

absl::Status Check(Graph& graph) {
  graph.RemoveDead();
  RETURN_IF_ERROR(graph.Verify());
  for (const auto& node : graph.nodes()) RETURN_IF_ERROR(InferNode(*node));
  return absl::OkStatus();
}

}  // namespace

std::span<const Pass> PreparePasses() { return kPrepare; }
std::span<const Pass> ObservePasses() { return kObserve; }
std::span<const Pass> OptimizePasses() { return kOptimize; }

absl::Status RunPasses(Graph& graph, std::span<const Pass> passes, const PassOptions& options) {
  RETURN_IF_ERROR(Check(graph));
  for (const Pass& pass : passes) {
    const std::string what = absl::StrCat("pass ", std::string(pass.name));
    RETURN_IF_ERROR(WithContext(pass.run(graph, options), what));
    RETURN_IF_ERROR(WithContext(Check(graph), what));
  }
  return absl::OkStatus();
}

}  // namespace hachi
