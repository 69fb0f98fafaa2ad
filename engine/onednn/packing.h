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

// Picks the kernel and puts packed weights into impl.fixed. A layout in which the weights are packed already
// is taken when a fast kernel accepts it, else the library's own choice. `describe` makes a primitive
// descriptor (may be empty) for a weights descriptor; `plain` is how the tensor's elements lie; `any` leaves
// the layout to the library.
template <typename Describe>
auto ChooseAndPack(const Describe& describe, const dnnl::memory::desc& plain, const dnnl::memory::desc& any,
                   const std::shared_ptr<const Tensor>& weights, WeightCache& cache, Primitive::Impl& impl)
    -> absl::StatusOr<decltype(describe(any))> {
  using Key = WeightCache::LayoutKey;
  const auto fast = [](const auto& descriptor) {
    return static_cast<bool>(descriptor) && std::strstr(descriptor.impl_info_str(), "ref") == nullptr;
  };
  decltype(describe(any)) chosen;
  for (const Key& key : cache.LayoutsOf(weights.get())) {
    dnnl::memory::desc packed;
    if (key.size() != sizeof packed.data) continue;  // of a kernel of ours
    std::memcpy(&packed.data, key.data(), sizeof packed.data);
    if (packed.dims() != any.dims() || packed.data_type() != any.data_type()) continue;
    auto candidate = describe(packed);
    if (fast(candidate)) {
      chosen = candidate;
      break;
    }
  }
  if (!chosen) chosen = describe(any);
  if (!chosen)
    return absl::UnimplementedError("oneDNN has no kernel for this combination of types and layouts");

  const dnnl::memory::desc packed = chosen.weights_desc();
  Key key(sizeof packed.data);
  std::memcpy(key.data(), &packed.data, key.size());
  ASSIGN_OR_RETURN(const auto buffer,
                   cache.GetOrPack(weights.get(), key, [&]() -> absl::StatusOr<AlignedBuffer> {
                     AlignedBuffer bytes(packed.get_size());
                     dnnl::memory from(plain, CpuEngine(), const_cast<std::byte*>(weights->bytes().data()));
                     dnnl::memory to(packed, CpuEngine(), bytes.data());
                     dnnl::stream stream(CpuEngine());
                     dnnl::reorder(from, to).execute(stream, from, to);
                     stream.wait();
                     return bytes;
                   }));
  impl.fixed[DNNL_ARG_WEIGHTS] = dnnl::memory(packed, CpuEngine(), buffer->data());
  impl.keep_alive.push_back(buffer);
  impl.kernel = chosen.impl_info_str();
  impl.scratch = chosen.scratchpad_desc();
  return chosen;
}

}  // namespace hachi
