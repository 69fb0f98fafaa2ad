#pragma once

// Shared by the files of this folder; nobody else includes it.

#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/onednn/primitive.h"
#include "engine/product/weight_cache.h"
#include "engine/tensor/post_op.h"
#include "engine/tensor/tensor.h"
#include "engine/tensor/tensor_spec.h"

namespace hachi {

// Runs `make`, which calls oneDNN and returns a StatusOr<T>; its exceptions become INTERNAL.
template <typename Make>
auto CatchDnnl(const char* what, Make&& make) -> decltype(make()) {
  try {
    return make();
  } catch (const dnnl::error& error) {
    return absl::InternalError(
        absl::StrCat("oneDNN ", what, ": status ", static_cast<int>(error.status), ", expected success"));
  }
}

const dnnl::engine& CpuEngine();

// UNIMPLEMENTED for types that oneDNN does not have.
absl::StatusOr<dnnl::memory::data_type> ToDnnl(DType dtype);

// Dense in the spec's layout.
absl::StatusOr<dnnl::memory::desc> ToDnnl(const TensorSpec& spec);

struct Primitive::Impl {
  dnnl::primitive primitive;
  KernelFacts kernel;
  dnnl::memory::desc src, src1, dst, scratch;  // src1: zero when unused
  int src1_argument = DNNL_ARG_SRC_1;
  std::unordered_map<int, dnnl::memory> fixed;  // weights, bias
  std::vector<std::shared_ptr<const void>> keep_alive;
};

// Of the library's kernel of that name.
KernelFacts FactsOf(std::string_view name);

// Makes the primitive of a chosen descriptor, with what every primitive has.
template <typename Made, typename Chosen>
std::unique_ptr<Primitive::Impl> ImplOf(const Chosen& chosen, const dnnl::memory::desc& src,
                                        const dnnl::memory::desc& dst) {
  auto impl = std::make_unique<Primitive::Impl>();
  impl->primitive = Made(chosen);
  impl->kernel = FactsOf(chosen.impl_info_str());
  impl->src = src;
  impl->dst = dst;
  impl->scratch = chosen.scratchpad_desc();
  return impl;
}

// Makes a primitive without weights; `src1` is its second operand, zero when unused.
template <typename Made, typename Chosen>
PrimitiveMaker MakerOf(const Chosen& chosen, const dnnl::memory::desc& src, const dnnl::memory::desc& dst,
                       const dnnl::memory::desc& src1 = {}, int src1_argument = DNNL_ARG_SRC_1) {
  return [=]() -> absl::StatusOr<std::unique_ptr<Primitive>> {
    return CatchDnnl("primitive", [&]() -> absl::StatusOr<std::unique_ptr<Primitive>> {
      auto impl = ImplOf<Made>(chosen, src, dst);
      impl->src1 = src1;
      impl->src1_argument = src1_argument;
      return std::make_unique<Primitive>(std::move(impl));
    });
  };
}

// Scales on the accumulator, zero points and fused operations, from real units to the library's arithmetic:
//   f = (accumulator + bias) * output_scale[channel]; post-ops; + destination zero point; saturate and round.
struct Requantization {
  std::vector<float> output_scales;  // one, or one for each output channel
  std::vector<float> bias;           // in accumulator units; empty: none
  dnnl::primitive_attr attr;
  bool has_residual = false;  // a sum over what lies in dst
  std::vector<float>
      factors;  // of the result, one for each channel, that the last post-op multiplies by; empty: none
};

// `weight_scales` has one entry or one for each output channel (empty: f32 weights). `residual` describes the
// tensor that a kAdd post-op reads, which lies in dst. `scale_mask` is oneDNN's for per-channel output
// scales. `factors` multiply the result behind the post-ops, one for each channel of axis 1; empty: none.
// UNIMPLEMENTED for combinations that the library gets wrong or refuses.
absl::StatusOr<Requantization> MakeRequantization(const TensorSpec& src, const TensorSpec& dst,
                                                  const std::vector<float>& weight_scales, const Tensor* bias,
                                                  const std::vector<PostOp>& post_ops,
                                                  const TensorSpec* residual, int64_t channels,
                                                  int scale_mask, const std::vector<float>& factors = {});

// Appends a post-op (kAdd excluded) in units where a real number r is r / unit, and multiplies its result by
// `scale`.
absl::Status AppendEltwise(const PostOp& post_op, float unit, float scale, dnnl::post_ops& ops);

// UNIMPLEMENTED where two entries have one algorithm and different parameters: kernels of oneDNN 2.6 would
// use the first entry's for both, silently.
absl::Status CheckDistinct(const dnnl::post_ops& ops);

// The descriptor of `channels` numbers that a post-op multiplies a result of that rank by, along axis 1.
dnnl::memory::desc ChannelFactors(int64_t channels, size_t rank);

// A memory that holds a copy of `values`; the copy is kept alive by `impl`.
dnnl::memory FixedMemory(Primitive::Impl& impl, const dnnl::memory::desc& desc,
                         const std::vector<float>& values);

}  // namespace hachi
