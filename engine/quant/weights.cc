#include "engine/quant/weights.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace hachi {
namespace {

constexpr float kNegligible = 1e-30f;  // channels that never get this far from zero are zero
constexpr int kSafePairSum = 128;      // 255 × 128 is the largest sum below 2^15

// The weights as [outer, channels, inner].
struct Strides {
  size_t outer = 1, channels = 1, inner = 1;

  // Calls fn(channel, start, count, step) for runs of elements that lie together. Each is of channel
  // `channel`, or (step 1) the next one of the next channel.
  template <typename Fn>
  void ForEachRow(const Fn& fn) const {
    if (inner == 1) {
      for (size_t o = 0; o < outer; ++o) fn(0, o * channels, channels, 1);
      return;
    }
    for (size_t o = 0; o < outer; ++o)
      for (size_t c = 0; c < channels; ++c) fn(c, (o * channels + c) * inner, inner, 0);
  }
};

// Half to even, for magnitudes below 2^22: the sum has no bits left for a fraction.
float Round(float x) {
  constexpr float kShift = 1.5f * (1 << 23);
  return (x + kShift) - kShift;
}

int8_t QuantizeOne(float weight, float scale, float lowest, float highest) {
  const float q = Round(weight / scale);
  const float low = q < lowest ? lowest : q;
  return static_cast<int8_t>(low > highest ? highest : low);
}

// The integers of each channel.
struct Grids {
  std::vector<float> scale, lowest, highest;
};

// The two loops below run along memory: within a channel, or across channels where those are innermost.
void FindRanges(std::span<const float> in, const Strides& strides, float* min, float* max) {
  strides.ForEachRow([&](size_t c, size_t start, size_t count, size_t step) {
    if (step == 1) {
      for (size_t i = 0; i < count; ++i) {
        min[c + i] = in[start + i] < min[c + i] ? in[start + i] : min[c + i];
        max[c + i] = in[start + i] > max[c + i] ? in[start + i] : max[c + i];
      }
      return;
    }
    float low = min[c], high = max[c];
    for (size_t i = 0; i < count; ++i) {
      low = in[start + i] < low ? in[start + i] : low;
      high = in[start + i] > high ? in[start + i] : high;
    }
    min[c] = low;
    max[c] = high;
  });
}

void Quantize(std::span<const float> in, const Strides& strides, const Grids& grids, std::span<int8_t> out) {
  strides.ForEachRow([&](size_t c, size_t start, size_t count, size_t step) {
    const float *scale = &grids.scale[c], *lowest = &grids.lowest[c], *highest = &grids.highest[c];
    if (step == 1) {
      for (size_t i = 0; i < count; ++i)
        out[start + i] = QuantizeOne(in[start + i], scale[i], lowest[i], highest[i]);
      return;
    }
    for (size_t i = 0; i < count; ++i) out[start + i] = QuantizeOne(in[start + i], *scale, *lowest, *highest);
  });
}

Strides StridesOf(std::span<const int64_t> shape, int channel_axis) {
  Strides strides;
  for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis) {
    const auto dim = static_cast<size_t>(shape[static_cast<size_t>(axis)]);
    (axis < channel_axis ? strides.outer : axis == channel_axis ? strides.channels : strides.inner) *= dim;
  }
  return strides;
}

// Of each channel, the sum of its two largest magnitudes.
std::vector<int> LargestPairs(std::span<const int8_t> values, const Strides& strides) {
  std::vector<int> largest(strides.channels), second(strides.channels);
  strides.ForEachRow([&](size_t first, size_t start, size_t count, size_t step) {
    for (size_t i = 0; i < count; ++i) {
      const size_t c = first + i * step;
      const int magnitude = std::abs(int{values[start + i]});
      second[c] = std::max(second[c], std::min(largest[c], magnitude));
      largest[c] = std::max(largest[c], magnitude);
    }
  });
  for (size_t c = 0; c < strides.channels; ++c) largest[c] += second[c];
  return largest;
}

}  // namespace

bool PairSumsMaySaturate(const Tensor& values, int channel_axis) {
  return std::ranges::any_of(LargestPairs(values.As<int8_t>(), StridesOf(values.shape(), channel_axis)),
                             [](int sum) { return sum > kSafePairSum; });
}

absl::StatusOr<QuantizedWeights> QuantizeWeights(const TensorView& weights, int channel_axis, int bits) {
  const Strides strides = StridesOf(weights.shape, channel_axis);
  const std::span<const float> in = weights.As<float>();
  if (in.empty()) return absl::InvalidArgumentError("weights: none, expected some");
  float poison = 0;
  for (const float w : in) poison += w * 0.0f;  // NaN once a weight is not finite
  if (poison != 0) return absl::InvalidArgumentError("weights: not all are finite");
  std::vector<float> min(strides.channels), max(strides.channels);  // with zero
  FindRanges(in, strides, min.data(), max.data());

  QuantizedWeights result;
  result.values = Tensor(DType::kS8, Shape(weights.shape.begin(), weights.shape.end()));
  result.channel_bits.assign(strides.channels, 8);
  Grids grids = {std::vector(strides.channels, 1.0f), std::vector(strides.channels, -127.0f),
                 std::vector(strides.channels, 127.0f)};
  for (size_t c = 0; c < strides.channels; ++c)
    if (const float absmax = std::max(-min[c], max[c]); absmax > kNegligible) grids.scale[c] = absmax / 127;
  const std::span<int8_t> out = result.values.As<int8_t>();
  Quantize(in, strides, grids, out);
  if (bits == 7) {
    const std::vector<int> pairs = LargestPairs(out, strides);
    for (size_t c = 0; c < strides.channels; ++c) {
      if (pairs[c] <= kSafePairSum) continue;
      result.channel_bits[c] = 7;
      grids.scale[c] = std::max(-min[c] / 64, max[c] / 63);
      grids.lowest[c] = -64;
      grids.highest[c] = 63;
    }
    Quantize(in, strides, grids, out);
  }
  result.params = {std::move(grids.scale), std::vector<int32_t>(strides.channels, 0), channel_axis};
  return result;
}

}  // namespace hachi
