#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace hachi {

// Counts of finite values in bins of equal width, a power of two. Bin k >= 0 holds [k, k + 1) times the
// width; bin k < 0 holds (k, k + 1] times the width, the mirror image without zero. The bins reach from the
// least to the greatest value and to zero, and are as narrow as kMaxBins allow, so between kMaxBins / 2 and
// kMaxBins of them cover that range. When the range grows, widths double and neighbours (2k, 2k + 1) merge.
// Hence the histogram depends on the values only, never on their order or on who counted them.
//
// Thread-compatible.
class Histogram {
 public:
  static constexpr int kMaxBins = 8192;

  // Makes room for [min, max]. REQUIRES: both finite, min <= max; contains every range covered before.
  void Cover(float min, float max);

  // Counts a value. Its bin is BinOf(value). REQUIRES: it was covered.
  void Count(std::span<const float> values);
  void Add(int bin, uint64_t count) { counts_[static_cast<size_t>(bin - first_)] += count; }

  // Adds what the other one counted. REQUIRES: covers the other's range.
  void Merge(const Histogram& other);

  int BinOf(float value) const;
  int exponent() const { return exponent_; }  // the width is 2^exponent
  double width() const;
  int first() const { return first_; }                             // the first bin of counts()
  const std::vector<uint64_t>& counts() const { return counts_; }  // empty: nothing was covered
  double MiddleOf(size_t i) const {
    return (first_ + static_cast<double>(i) + 0.5) * width();
  }  // of counts()[i]

  friend bool operator==(const Histogram&, const Histogram&) = default;

 private:
  int exponent_ = kMinExponent;
  int first_ = 0;
  std::vector<uint64_t> counts_;

  static constexpr int kMinExponent =
      std::numeric_limits<float>::min_exponent - 1;  // of the least normal number
};

// The axis of a tensor whose indices are its channels.
enum class ChannelAxis {
  kSecond,  // axis 1, of images and signals: what convolutions sum over
  kLast,    // the features of a token: what matrix products sum over
};

// How values of one tensor lie in memory: [outer, channels, inner].
struct ChannelOrder {
  int64_t channels = 1, inner = 1;
  ChannelAxis axis = ChannelAxis::kSecond;
};

// What was seen of one tensor while a model ran: range, histogram, and range and mean of each channel. Two
// that saw the halves of a data set merge to the one that saw it whole; only means may differ by rounding.
//
// NaN and infinities are counted apart: they enter neither range nor histogram, and count as 0 in means.
// Channels are forgotten when their number or axis differs between observations, or they pass kMaxChannels.
//
// Thread-compatible.
class TensorStats {
 public:
  static constexpr int64_t kMaxChannels = 16384;

  // Tensors of rank 1 have one channel. REQUIRES: channels × inner divides the number of values, unless that
  // is 0.
  void Observe(std::span<const float> values, const ChannelOrder& order);

  // REQUIRES: both have counted their values, or neither has (is_range()).
  void Merge(const TensorStats& other);

  // Of a tensor of which nothing is known but its range. REQUIRES: finite, min <= max.
  static TensorStats OfRange(float min, float max);
  bool is_range() const { return count_ == 0 && min_ <= max_; }

  uint64_t count() const { return count_; }          // of all values
  uint64_t nonfinite() const { return nonfinite_; }  // of those, NaN or infinite

  // Whether integers can stand for what was seen: something, and all of it finite.
  bool quantizable() const { return is_range() || (count_ > 0 && nonfinite_ == 0); }

  // Of the finite values; infinity and -infinity when there were none.
  float min() const { return min_; }
  float max() const { return max_; }
  const Histogram& histogram() const { return histogram_; }  // empty where is_range()

  int64_t channels() const { return static_cast<int64_t>(channels_.size()); }  // 0: not known
  ChannelAxis channel_axis() const { return axis_; }
  float ChannelMin(int64_t channel) const { return At(channel).min; }
  float ChannelMax(int64_t channel) const { return At(channel).max; }
  float ChannelAbsmax(int64_t channel) const;
  float ChannelMean(int64_t channel) const;

  // One line of a calibration table without the tensor's name; README.md has its format. REQUIRES:
  // !is_range().
  std::string ToText() const;

  // DATA_LOSS when the text is damaged or contradicts itself.
  static absl::StatusOr<TensorStats> Parse(std::string_view text);

  // Everything but the means, which rounding may move.
  bool SameButForMeans(const TensorStats& other) const;

 private:
  struct Channel {
    float min = std::numeric_limits<float>::infinity();
    float max = -std::numeric_limits<float>::infinity();
    double sum = 0;
  };

  const Channel& At(int64_t channel) const { return channels_[static_cast<size_t>(channel)]; }

  absl::Status ParseChannels(std::string_view text);
  absl::Status ParseHistogram(std::string_view text);

  // Makes `channels_` fit an observation of so many channels.
  void FitChannels(int64_t channels, ChannelAxis axis);

  template <bool kAllFinite>
  void ObserveRanges(std::span<const float> values, size_t channels, size_t inner);

  uint64_t count_ = 0, nonfinite_ = 0;
  float min_ = std::numeric_limits<float>::infinity();
  float max_ = -std::numeric_limits<float>::infinity();
  std::vector<Channel> channels_;  // empty although count_ > 0: forgotten
  ChannelAxis axis_ = ChannelAxis::kSecond;
  Histogram histogram_;
};

}  // namespace hachi
