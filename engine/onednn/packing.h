#pragma once

// Shared by convolution and matmul; nobody outside this folder includes it.

#include <cstring>

#include "engine/base/status_macros.h"
#include "engine/onednn/internal.h"

namespace hachi {

inline dnnl::memory::dims RowMajorStrides(const dnnl::memory::dims& dims) {
  dnnl::memory::dims strides(dims.size(), 1);
  for (size_t i = dims.size(); i-- > 1;) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

// Weights as they lie, and where their packed copies are kept.
struct Weights {
  dnnl::memory::desc plain;
  std::shared_ptr<const Tensor> tensor;
  WeightCache& cache;
};

// A packed layout, and the one that it was packed from: a square matrix may be read both ways.
inline PackedLayout KeyOf(const dnnl::memory::desc& packed, const dnnl::memory::desc& plain) {
  PackedLayout key(sizeof packed.data + sizeof plain.data);
  std::memcpy(key.data(), &packed.data, sizeof packed.data);
  std::memcpy(key.data() + sizeof packed.data, &plain.data, sizeof plain.data);
  return key;
}

// Picks a fast kernel: one for a layout in which the weights are packed already, else the library's own
// choice. `describe` makes a primitive descriptor (may be empty) for a weights descriptor.
template <typename Describe>
auto Choose(const Describe& describe, const Weights& weights)
    -> absl::StatusOr<decltype(describe(weights.plain))> {
  const auto fast = [](const auto& descriptor) {
    return static_cast<bool>(descriptor) && !FactsOf(descriptor.impl_info_str()).reference;
  };
  for (const PackedLayout& key : weights.cache.LayoutsOf(weights.tensor.get())) {
    dnnl::memory::desc packed;
    if (key.size() < sizeof packed.data) continue;  // of a kernel of ours
    std::memcpy(&packed.data, key.data(), sizeof packed.data);
    if (key != KeyOf(packed, weights.plain)) continue;
    auto candidate = describe(packed);
    if (fast(candidate)) return candidate;
  }
  auto chosen = describe(
      dnnl::memory::desc(weights.plain.dims(), weights.plain.data_type(), dnnl::memory::format_tag::any));
  if (!fast(chosen))
    return absl::UnimplementedError(
        "oneDNN has no fast kernel for this combination of types and layouts, expected one");
  return chosen;
}

// Puts the weights in the layout `packed` into impl.fixed.
inline absl::Status Pack(const dnnl::memory::desc& packed, const Weights& weights, Primitive::Impl& impl) {
  ASSIGN_OR_RETURN(const auto buffer,
                   weights.cache.GetOrPack(weights.tensor.get(), KeyOf(packed, weights.plain),
                                           [&]() -> absl::StatusOr<AlignedBuffer> {
                                             AlignedBuffer bytes(packed.get_size());
                                             dnnl::memory from(
                                                 weights.plain, CpuEngine(),
                                                 const_cast<std::byte*>(weights.tensor->bytes().data()));
                                             dnnl::memory to(packed, CpuEngine(), bytes.data());
                                             dnnl::stream stream(CpuEngine());
                                             dnnl::reorder(from, to).execute(stream, from, to);
                                             stream.wait();
                                             return bytes;
                                           }));
  impl.fixed[DNNL_ARG_WEIGHTS] = dnnl::memory(packed, CpuEngine(), buffer->data());
  impl.keep_alive.push_back(buffer);
  return absl::OkStatus();
}

struct Bias {
  dnnl::memory::desc desc;
  std::vector<float> values;  // empty: none
};

// What the last post-op multiplies channels by.
struct Factors {
  dnnl::memory::desc desc;
  std::vector<float> values;  // empty: nothing
};

// Makes a product's primitive once its kernel is chosen.
template <typename Made, typename Chosen>
PrimitiveMaker MakerOf(const Chosen& chosen, const dnnl::memory::desc& src, const dnnl::memory::desc& dst,
                       Weights weights, Bias bias, Factors factors = {}) {
  return [=, bias = std::move(bias),
          factors = std::move(factors)]() -> absl::StatusOr<std::unique_ptr<Primitive>> {
    return CatchDnnl("product", [&]() -> absl::StatusOr<std::unique_ptr<Primitive>> {
      auto impl = ImplOf<Made>(chosen, src, dst);
      RETURN_IF_ERROR(Pack(chosen.weights_desc(), weights, *impl));
      if (!bias.values.empty()) impl->fixed[DNNL_ARG_BIAS] = FixedMemory(*impl, bias.desc, bias.values);
      if (!factors.values.empty()) {
        const int last = chosen.get_primitive_attr().get_post_ops().len() - 1;
        impl->fixed[DNNL_ARG_ATTR_MULTIPLE_POST_OP(last) | DNNL_ARG_SRC_1] =
            FixedMemory(*impl, factors.desc, factors.values);
      }
      return std::make_unique<Primitive>(std::move(impl));
    });
  };
}

}  // namespace hachi
