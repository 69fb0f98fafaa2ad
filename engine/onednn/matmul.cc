#include "engine/onednn/matmul.h"

#include "engine/base/status_macros.h"
#include "engine/onednn/internal.h"
#include "engine/onednn/packing.h"

namespace hachi {

absl::StatusOr<PrimitiveMaker> FindMatMul(const MatMulSpec& spec, WeightCache& cache) {
  const Shape& shape = spec.weights->shape();
  const int64_t depth = spec.transposed ? shape[1] : shape[0],
                columns = spec.transposed ? shape[0] : shape[1];
  std::vector<float> weight_scales;
  if (spec.weight_quant) weight_scales = spec.weight_quant->scales;
  ASSIGN_OR_RETURN(Requantization requantization,
                   MakeRequantization(spec.src, spec.dst, weight_scales, spec.bias.get(), spec.post_ops,
                                      spec.residual ? &*spec.residual : nullptr, columns, 1 << 1));
  ASSIGN_OR_RETURN(const auto src, ToDnnl(spec.src));
  ASSIGN_OR_RETURN(const auto dst, ToDnnl(spec.dst));
  ASSIGN_OR_RETURN(const auto weight_type, ToDnnl(spec.weights->dtype()));

  return CatchDnnl("matmul", [&]() -> absl::StatusOr<PrimitiveMaker> {
    using dnnl::memory;
    const memory::desc bias = requantization.bias.empty() ? memory::desc()
                                                          : memory::desc({1, columns}, memory::data_type::f32,
                                                                         memory::format_tag::ab);
    const auto describe = [&](const memory::desc& weights) {
      const dnnl::matmul::desc desc = requantization.bias.empty()
                                          ? dnnl::matmul::desc(src, weights, dst)
                                          : dnnl::matmul::desc(src, weights, bias, dst);
      return dnnl::matmul::primitive_desc(desc, requantization.attr, CpuEngine(), /*allow_empty=*/true);
    };
    const memory::dims dims{depth, columns};
    const memory::desc plain(dims, weight_type,
                             spec.transposed ? memory::format_tag::ba : memory::format_tag::ab);
    const Weights weights{plain, spec.weights, cache};
    ASSIGN_OR_RETURN(const auto chosen, Choose(describe, weights));
    return MakerOf<dnnl::matmul>(chosen, src, dst, weights, {bias, std::move(requantization.bias)});
  });
}

absl::StatusOr<PrimitiveMaker> FindBatchedMatMul(const BatchedMatMulSpec& spec) {
  std::vector<float> weight_scales;
  if (spec.src1.quant) weight_scales = {spec.src1.quant->scale()};
  ASSIGN_OR_RETURN(Requantization requantization,
                   MakeRequantization(spec.src, spec.dst, weight_scales, /*bias=*/nullptr, spec.post_ops,
                                      /*residual=*/nullptr, /*channels=*/1, /*scale_mask=*/0));
  if (spec.src1.quant && spec.src1.quant->zero_point() != 0)
    requantization.attr.set_zero_points(DNNL_ARG_WEIGHTS, 0, {spec.src1.quant->zero_point()});
  ASSIGN_OR_RETURN(const auto src, ToDnnl(spec.src));
  ASSIGN_OR_RETURN(const auto src1, ToDnnl(spec.src1));
  ASSIGN_OR_RETURN(const auto dst, ToDnnl(spec.dst));
  return CatchDnnl("matmul", [&]() -> absl::StatusOr<PrimitiveMaker> {
    const dnnl::matmul::primitive_desc chosen(dnnl::matmul::desc(src, src1, dst), requantization.attr,
                                              CpuEngine(),
                                              /*allow_empty=*/true);
    if (!chosen || FactsOf(chosen.impl_info_str()).reference)
      return absl::UnimplementedError(
          "oneDNN has no fast matmul for this combination of types and layouts, expected one");
    return MakerOf<dnnl::matmul>(chosen, src, dst, src1, DNNL_ARG_WEIGHTS);
  });
}

}  // namespace hachi
