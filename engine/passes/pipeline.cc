// The list of passes, and what runs it.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "engine/decide/rules.h"
#include "engine/passes/infer_graph.h"
#include "engine/passes/passes.h"

namespace hachi {
namespace {

constexpr Pass kPrepare[] = {
    // Training leftovers go first, so that every later pattern finds producer and user side by side.
    {"remove_identities", RemoveIdentities},
    // Weights computed in the graph, shapes that reshapes ask for.
    {"fold_constants", FoldConstants},
    // Behind the constants, which decide what becomes a product of computed matrices.
    {"simplify_gemm", SimplifyGemm},
    {"decompose_einsum", DecomposeEinsum},
};

constexpr Pass kObserve[] = {
    {"assign_layouts", AssignLayouts},
};

constexpr Pass kOptimize[] = {
    // What exporters take apart, before its pieces are fused to something else.
    {"fuse_layer_norm", FuseLayerNorm},
    {"fuse_gelu", FuseGelu},
    {"fuse_activations", FuseActivations},
    {"fold_pads", FoldPads},
    // Into weights, before activations can hide the convolution from the normalization.
    {"fold_batch_normalization", FoldBatchNormalization},
    {"fuse_bias", FuseBias},
    // With the biases, and before anything else is fused behind a product.
    {"fuse_dynamic_products", FuseDynamicProducts},
    // With the biases, which a scale behind a product takes along.
    {"fold_scales", FoldScales},
    // What is added to what was scaled.
    {"fuse_bias", FuseBias},
    // What is left behind a convolution or product is computed on its accumulators.
    {"fuse_post_ops", FusePostOps},
    // With the scales and masks of scores where they are left.
    {"fuse_attention", FuseAttention},
    // Quantizers copy the layouts of what they quantize.
    {"assign_layouts", AssignLayouts},
    {"place_quantizers", PlaceQuantizers},
    {"fold_quantizers", FoldQuantizers},
    // Of what integers left.
    {"place_bf16", PlaceBf16},
};

// The graph's text; nothing where nobody asks for changes.
std::vector<std::string> LinesOf(const Graph& graph, const PassOptions& options) {
  if (!options.report_changes) return {};
  return absl::StrSplit(ToText(graph), '\n');
}

std::vector<std::string> Changes(const std::vector<std::string>& before,
                                 const std::vector<std::string>& after) {
  std::vector<std::string> changes;
  const auto add = [&](std::string_view sign, const auto& lines, const auto& others) {
    const std::set<std::string> known(others.begin(), others.end());
    for (const std::string& line : lines)
      if (!known.contains(line))
        changes.push_back(absl::StrCat(std::string(sign), std::string(absl::StripAsciiWhitespace(line))));
  };
  add("- ", before, after);
  add("+ ", after, before);
  return changes;
}

absl::Status Check(Graph& graph) {
  graph.RemoveDead();
  RETURN_IF_ERROR(graph.Verify());
  return InferGraph(graph);
}

}  // namespace

Precision WantedPrecision(const PassOptions& options, std::string_view node) {
  if (options.given != nullptr)
    if (const Decision* given = options.given->Find(node)) return given->precision;
  return PinOf(options.pins, node).value_or(options.bf16 ? Precision::kBf16 : Precision::kInt8);
}

std::span<const Pass> PreparePasses() { return kPrepare; }
std::span<const Pass> ObservePasses() { return kObserve; }
std::span<const Pass> OptimizePasses() { return kOptimize; }

absl::Status CheckPassNames(const std::set<std::string, std::less<>>& names) {
  for (const std::string& name : names) {
    const auto is = [&](const Pass& pass) { return pass.name == name; };
    if (std::ranges::none_of(kPrepare, is) && std::ranges::none_of(kOptimize, is))
      return absl::InvalidArgumentError(
          absl::StrCat("pass '", name, "' is unknown, expected one that inspect --passes prints"));
  }
  return absl::OkStatus();
}

absl::Status RunPasses(Graph& graph, std::span<const Pass> passes, const PassOptions& options) {
  RETURN_IF_ERROR(Check(graph));
  for (const Pass& pass : passes) {
    if (options.skip.contains(pass.name)) continue;
    const std::vector<std::string> before = LinesOf(graph, options);
    const absl::Time start = absl::Now();
    const std::string what = absl::StrCat("pass ", std::string(pass.name));
    RETURN_IF_ERROR(WithContext(pass.run(graph, options), what));
    RETURN_IF_ERROR(WithContext(Check(graph), what));
    const absl::Duration time = absl::Now() - start;
    if (options.on_pass)
      options.on_pass({std::string(pass.name), time, Changes(before, LinesOf(graph, options))});
  }
  return absl::OkStatus();
}

}  // namespace hachi
