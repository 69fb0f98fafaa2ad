#include "engine/kernels/rescale_rows.h"

#include <algorithm>
#include <cstddef>

#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/rescale_rows.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

void RescaleRow(const float* in, size_t columns, float scale, float shift, const float* sums,
                const float* bias, float* out) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto factor = hn::Set(d, scale), slope = hn::Set(d, shift);
  size_t i = 0;
  for (; i + lanes <= columns; i += lanes) {
    const auto offset = bias == nullptr ? hn::Zero(d) : hn::LoadU(d, bias + i);
    const auto base = hn::NegMulAdd(slope, hn::LoadU(d, sums + i), offset);
    hn::StoreU(hn::MulAdd(hn::LoadU(d, in + i), factor, base), d, out + i);
  }
  for (; i < columns; ++i) out[i] = in[i] * scale + ((bias == nullptr ? 0.0f : bias[i]) - shift * sums[i]);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {

HWY_EXPORT(RescaleRow);

void RescaleRows(std::span<const float> in, std::span<const RowQuant> quants, std::span<const float> sums,
                 std::span<const float> bias, float* out) {
  constexpr int64_t kGrain = 1 << 14;  // elements worth waking the team for
  const auto columns = static_cast<int64_t>(sums.size());
  if (columns == 0) return;
  const auto kernel = HACHI_DISPATCH(RescaleRow);
  ParallelFor(static_cast<int64_t>(in.size()) / columns, std::max<int64_t>(1, kGrain / columns),
              [&](int64_t begin, int64_t end) {
                for (int64_t row = begin; row < end; ++row) {
                  const RowQuant& quant = quants[quants.size() == 1 ? 0 : static_cast<size_t>(row)];
                  kernel(in.data() + row * columns, static_cast<size_t>(columns), quant.scale,
                         quant.scale * static_cast<float>(quant.zero_point), sums.data(),
                         bias.empty() ? nullptr : bias.data(), out + row * columns);
                }
              });
}

}  // namespace hachi
#endif
