#include "engine/quant/tensor_stats.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace hachi {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool IsFinite(float value) { return (std::bit_cast<uint32_t>(value) & 0x7f800000u) != 0x7f800000u; }

// Whole bins of 2^exponent between zero and `magnitude`, rounded down. Exact: only the exponent changes.
double BinsBelow(float magnitude, int exponent) {
  return std::floor(std::ldexp(static_cast<double>(magnitude), -exponent));
}

struct Range {
  float min = kInfinity, max = -kInfinity;
  double sum = 0;
};

// Takes one value into each lane's range and sum.
template <bool kAllFinite>
void Take(const float* __restrict x, size_t lanes, float* __restrict min, float* __restrict max,
          double* __restrict sum) {
  for (size_t lane = 0; lane < lanes; ++lane) {
    const bool use = kAllFinite || IsFinite(x[lane]);
    const float low = use ? x[lane] : kInfinity, high = use ? x[lane] : -kInfinity;
    min[lane] = low < min[lane] ? low : min[lane];
    max[lane] = high > max[lane] ? high : max[lane];
    sum[lane] += static_cast<double>(use ? x[lane] : 0.0f);
  }
}

// Range and sum of a row. Independent lanes, so that the compiler may use vectors of them.
template <bool kAllFinite>
Range RangeOf(const float* row, size_t count) {
  constexpr size_t kLanes = 8;
  std::array<float, kLanes> min, max;
  std::array<double, kLanes> sum{};
  min.fill(kInfinity);
  max.fill(-kInfinity);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    Take<kAllFinite>(row + i, kLanes, min.data(), max.data(), sum.data());
  Take<kAllFinite>(row + i, count - i, min.data(), max.data(), sum.data());
  Range range;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    range.min = std::min(range.min, min[lane]);
    range.max = std::max(range.max, max[lane]);
    range.sum += sum[lane];
  }
  return range;
}

uint64_t CountNonfinite(std::span<const float> values) {
  uint64_t total = 0;
  constexpr size_t kBlock = 1 << 16;
  for (size_t start = 0; start < values.size(); start += kBlock) {
    uint32_t count = 0;
    for (const float x : values.subspan(start, std::min(kBlock, values.size() - start)))
      count += !IsFinite(x);
    total += count;
  }
  return total;
}

}  // namespace

double Histogram::width() const { return std::ldexp(1.0, exponent_); }

int Histogram::BinOf(float value) const {
  const int bins = static_cast<int>(BinsBelow(std::abs(value), exponent_));
  return value < 0 ? -bins - 1 : bins;
}

void Histogram::Cover(float min, float max) {
  const float low = std::max(-min, 0.0f), high = std::max(max, 0.0f);
  const auto bins = [&](int exponent) {
    return BinsBelow(high, exponent) + 1 + (low > 0 ? BinsBelow(low, exponent) + 1 : 0);
  };
  int exponent = exponent_;
  if (const float largest = std::max(low, high); largest > 0)
    exponent = std::max(exponent, std::ilogb(largest) - std::countr_zero(unsigned{Histogram::kMaxBins}));
  while (bins(exponent) > kMaxBins) ++exponent;

  Histogram before = std::move(*this);
  exponent_ = exponent;
  first_ = low > 0 ? BinOf(min) : 0;
  const auto size = static_cast<size_t>(BinOf(high) - first_ + 1);
  if (before.exponent_ == exponent_ && before.first_ == first_ && before.counts_.size() == size) {
    counts_ = std::move(before.counts_);
    return;
  }
  counts_.assign(size, 0);
  Merge(before);
}

void Histogram::Count(std::span<const float> values) {
  constexpr size_t kBlock = 1024;
  std::array<int32_t, kBlock> bins;
  const float per_width = std::ldexp(1.0f, -exponent_);
  uint64_t* counts = counts_.data() - first_;
  for (size_t start = 0; start < values.size(); start += kBlock) {
    const size_t count = std::min(kBlock, values.size() - start);
    const float* x = values.data() + start;
    // What underflows here lies in bin 0 or -1 all the same.
    for (size_t i = 0; i < count; ++i) bins[i] = static_cast<int32_t>(x[i] * per_width) - (x[i] < 0 ? 1 : 0);
    for (size_t i = 0; i < count; ++i) ++counts[bins[i]];
  }
}

void Histogram::Merge(const Histogram& other) {
  const int shift = std::min(exponent_ - other.exponent_, 31);
  for (size_t i = 0; i < other.counts_.size(); ++i)
    if (other.counts_[i] > 0) Add((other.first_ + static_cast<int>(i)) >> shift, other.counts_[i]);
}

void TensorStats::FitChannels(int64_t channels, ChannelAxis axis) {
  if (channels > kMaxChannels) channels = 0;
  if (count_ == 0) {
    channels_.assign(static_cast<size_t>(channels), {});
    axis_ = axis;
  } else if (channels != this->channels() || axis != axis_) {
    channels_.clear();
    axis_ = ChannelAxis::kSecond;
  }
}

template <bool kAllFinite>
void TensorStats::ObserveRanges(std::span<const float> values, size_t channels, size_t inner) {
  const auto extend = [this](const Range& range) {
    min_ = std::min(min_, range.min);
    max_ = std::max(max_, range.max);
  };
  if (channels_.empty()) {
    extend(RangeOf<kAllFinite>(values.data(), values.size()));
    return;
  }
  const auto merge = [](Channel& channel, float min, float max, double sum) {
    // Adding 0 turns -0 into 0: which of the two came first must not show.
    channel.min = std::min(channel.min, min) + 0.0f;
    channel.max = std::max(channel.max, max) + 0.0f;
    channel.sum += sum;
  };
  if (inner > 1) {
    for (size_t start = 0; start < values.size(); start += channels * inner) {
      for (size_t c = 0; c < channels; ++c) {
        const Range range = RangeOf<kAllFinite>(values.data() + start + c * inner, inner);
        merge(channels_[c], range.min, range.max, range.sum);
      }
    }
  } else {
    // Channels lie side by side: each is a lane.
    std::vector<float> min(channels, kInfinity), max(channels, -kInfinity);
    std::vector<double> sum(channels);
    for (size_t start = 0; start < values.size(); start += channels)
      Take<kAllFinite>(values.data() + start, channels, min.data(), max.data(), sum.data());
    for (size_t c = 0; c < channels; ++c) merge(channels_[c], min[c], max[c], sum[c]);
  }
  for (const Channel& channel : channels_) extend({channel.min, channel.max});
}

void TensorStats::Observe(std::span<const float> values, const ChannelOrder& order) {
  if (values.empty()) return;
  FitChannels(order.channels, order.axis);
  const auto channels = static_cast<size_t>(order.channels), inner = static_cast<size_t>(order.inner);
  const uint64_t nonfinite = CountNonfinite(values);
  count_ += values.size();
  nonfinite_ += nonfinite;
  if (nonfinite == 0)
    ObserveRanges<true>(values, channels, inner);
  else
    ObserveRanges<false>(values, channels, inner);
  min_ += 0.0f;
  max_ += 0.0f;
  if (count_ == nonfinite_) return;
  histogram_.Cover(min_, max_);
  if (nonfinite == 0) {
    histogram_.Count(values);
  } else {
    for (const float& x : values)
      if (IsFinite(x)) histogram_.Count({&x, 1});
  }
}

void TensorStats::Merge(const TensorStats& other) {
  if (other.count_ == 0) {
    min_ = std::min(min_, other.min_);
    max_ = std::max(max_, other.max_);
    return;
  }
  FitChannels(other.channels(), other.axis_);
  count_ += other.count_;
  nonfinite_ += other.nonfinite_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  for (size_t c = 0; c < channels_.size(); ++c) {
    channels_[c].min = std::min(channels_[c].min, other.channels_[c].min);
    channels_[c].max = std::max(channels_[c].max, other.channels_[c].max);
    channels_[c].sum += other.channels_[c].sum;
  }
  if (count_ == nonfinite_) return;
  histogram_.Cover(min_, max_);
  histogram_.Merge(other.histogram_);
}

TensorStats TensorStats::OfRange(float min, float max) {
  TensorStats stats;
  stats.min_ = min + 0.0f;
  stats.max_ = max + 0.0f;
  return stats;
}

float TensorStats::ChannelAbsmax(int64_t channel) const {
  return std::max({-ChannelMin(channel), ChannelMax(channel), 0.0f});
}

float TensorStats::ChannelMean(int64_t channel) const {
  return static_cast<float>(At(channel).sum * static_cast<double>(channels_.size()) /
                            static_cast<double>(count_));
}

bool TensorStats::SameButForMeans(const TensorStats& other) const {
  const auto same = [](const Channel& a, const Channel& b) { return a.min == b.min && a.max == b.max; };
  return count_ == other.count_ && axis_ == other.axis_ && nonfinite_ == other.nonfinite_ &&
         min_ == other.min_ && max_ == other.max_ && histogram_ == other.histogram_ &&
         std::equal(channels_.begin(), channels_.end(), other.channels_.begin(), other.channels_.end(), same);
}

}  // namespace hachi
