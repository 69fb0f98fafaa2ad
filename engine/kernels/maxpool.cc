#include "engine/kernels/maxpool.h"

#include <algorithm>

#include "engine/cpu/team.h"
#include "engine/kernels/vnni.h"

namespace hachi {
namespace {

// Taps of a window along one axis that are inside.
struct Taps {
  int64_t begin, end;

  static Taps Of(int64_t first, int64_t kernel, int64_t dilation, int64_t size) {
    const int64_t begin = first < 0 ? (-first + dilation - 1) / dilation : 0;
    return {begin, std::clamp((size - first + dilation - 1) / dilation, begin, std::max(begin, kernel))};
  }
};

template <bool kSigned>
HACHI_VNNI void Row(const MaxPoolSpec& spec, const uint8_t* image, int64_t y, uint8_t* out) {
  constexpr int64_t kLanes = 64;
  const Taps rows = Taps::Of(y * spec.stride_y - spec.pad_top, spec.kernel_y, spec.dilation_y, spec.height);
  for (int64_t x = 0; x < spec.out_width; ++x, out += spec.channels) {
    const int64_t left = x * spec.stride_x - spec.pad_left, top = y * spec.stride_y - spec.pad_top;
    const Taps columns = Taps::Of(left, spec.kernel_x, spec.dilation_x, spec.width);
    for (int64_t c = 0; c < spec.channels; c += kLanes) {
      const int64_t count = std::min(kLanes, spec.channels - c);
      const __mmask64 lanes = count == kLanes ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
      __m512i most = _mm512_set1_epi8(kSigned ? -128 : 0);
      for (int64_t ky = rows.begin; ky < rows.end; ++ky) {
        const uint8_t* row = image + (top + ky * spec.dilation_y) * spec.width * spec.channels + c;
        for (int64_t kx = columns.begin; kx < columns.end; ++kx) {
          const __m512i pixel =
              _mm512_maskz_loadu_epi8(lanes, row + (left + kx * spec.dilation_x) * spec.channels);
          most = kSigned ? _mm512_max_epi8(most, pixel) : _mm512_max_epu8(most, pixel);
        }
      }
      _mm512_mask_storeu_epi8(out + c, lanes, most);
    }
  }
}

}  // namespace

void MaxPool(const MaxPoolSpec& spec, const std::byte* in, int64_t images, std::byte* out) {
  constexpr int64_t kGrain = 1 << 17;  // bytes read that are worth waking the team for: some µs of one core
  const int64_t row_bytes = spec.out_width * spec.kernel_y * spec.kernel_x * spec.channels;
  ParallelFor(images * spec.out_height, kGrain / (row_bytes + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto* image = reinterpret_cast<const uint8_t*>(in) +
                          i / spec.out_height * spec.height * spec.width * spec.channels;
      auto* to = reinterpret_cast<uint8_t*>(out) + i * spec.out_width * spec.channels;
      spec.type == DType::kS8 ? Row<true>(spec, image, i % spec.out_height, to)
                              : Row<false>(spec, image, i % spec.out_height, to);
    }
  });
}

}  // namespace hachi
