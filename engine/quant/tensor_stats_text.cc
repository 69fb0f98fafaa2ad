#include <charconv>
#include <cmath>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/quant/tensor_stats.h"

namespace hachi {
namespace {

constexpr uint64_t kMaxCount = uint64_t{1} << 62;  // so that sums of two don't wrap

// A channel in a table: min, max, mean as little-endian f32.
using ChannelRecord = std::array<float, 3>;

// The shortest text that reads back as the same number.
std::string FloatText(float value) {
  std::array<char, 32> buffer;
  return {buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr};
}

template <typename T>
absl::StatusOr<T> ParseNumber(std::string_view key, std::string_view text) {
  T value;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return absl::DataLossError(
        absl::StrCat(std::string(key), ": '", std::string(text.substr(0, 40)), "', expected a number"));
  return value;
}

std::string Base64(std::string_view bytes) {
  return absl::Base64Escape(absl::string_view(bytes.data(), bytes.size()));
}

absl::StatusOr<std::string> ParseBase64(std::string_view key, std::string_view text) {
  std::string bytes;
  if (!absl::Base64Unescape(absl::string_view(text.data(), text.size()), &bytes))
    return absl::DataLossError(absl::StrCat(std::string(key), ": not base64"));
  return bytes;
}

// Seven bits a byte, lowest first; the top bit says that more follow.
void AppendVarint(uint64_t value, std::string& bytes) {
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
}

absl::StatusOr<uint64_t> TakeVarint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0; shift < 63 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return absl::DataLossError("histogram: ends or overflows within a number");
}

// The value of "key=value" at the front of `text`, which it takes away with the space behind it.
absl::StatusOr<std::string_view> TakeField(std::string_view key, std::string_view& text) {
  const std::string_view field = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), field.size() + 1));
  if (!field.starts_with(key) || field.size() == key.size() || field[key.size()] != '=')
    return absl::DataLossError(absl::StrCat("'", absl::CEscape(std::string(field.substr(0, 40))),
                                            "', expected ", std::string(key), "=..."));
  return field.substr(key.size() + 1);
}

}  // namespace

std::string TensorStats::ToText() const {
  std::string records, counts;
  for (int64_t c = 0; c < channels(); ++c) {
    const ChannelRecord record = {ChannelMin(c), ChannelMax(c), ChannelMean(c)};
    records.append(reinterpret_cast<const char*>(record.data()), sizeof(record));
  }
  const std::vector<uint64_t>& bins = histogram_.counts();
  for (size_t i = 0; i < bins.size(); ++i) {
    AppendVarint(bins[i], counts);
    if (bins[i] > 0) continue;
    const size_t first = i;
    while (i + 1 < bins.size() && bins[i + 1] == 0) ++i;
    AppendVarint(i - first, counts);
  }
  return absl::StrCat("min=", FloatText(min_), " max=", FloatText(max_), " count=", count_,
                      " nonfinite=", nonfinite_,
                      axis_ == ChannelAxis::kLast ? " features=" : " channels=", channels(), ":",
                      Base64(records), " histogram=", Base64(counts));
}

absl::Status TensorStats::ParseChannels(std::string_view text) {
  const size_t colon = text.find(':');
  ASSIGN_OR_RETURN(const auto count, ParseNumber<int64_t>("channels", text.substr(0, colon)));
  if (colon == std::string_view::npos || count < 0 || count > kMaxChannels ||
      (count > 0 && (count_ == 0 || count_ % static_cast<uint64_t>(count) != 0)))
    return absl::DataLossError(
        absl::StrCat("channels: ", count, ", expected a divisor of count up to ", kMaxChannels));
  ASSIGN_OR_RETURN(const std::string bytes, ParseBase64("channels", text.substr(colon + 1)));
  if (bytes.size() != static_cast<size_t>(count) * sizeof(ChannelRecord))
    return absl::DataLossError(absl::StrCat("channels: ", bytes.size(), " bytes, expected ",
                                            sizeof(ChannelRecord), " for each of ", count));
  float min = std::numeric_limits<float>::infinity(), max = -min;
  for (int64_t c = 0; c < count; ++c) {
    ChannelRecord record;
    std::memcpy(record.data(), bytes.data() + static_cast<size_t>(c) * sizeof(record), sizeof(record));
    const auto [low, high, mean] = record;
    const bool none = low == std::numeric_limits<float>::infinity() && high == -low && nonfinite_ > 0;
    if (!none && !(std::isfinite(low) && std::isfinite(high) && low <= high))
      return absl::DataLossError(absl::StrCat("channels: channel ", c, " is from ", low, " to ", high));
    if (!std::isfinite(mean))
      return absl::DataLossError(absl::StrCat("channels: channel ", c, " has mean ", mean));
    min = std::min(min, low);
    max = std::max(max, high);
    channels_.push_back(
        {low, high, static_cast<double>(mean) * static_cast<double>(count_) / static_cast<double>(count)});
  }
  if (count > 0 && (min != min_ || max != max_))
    return absl::DataLossError(
        absl::StrCat("channels: together from ", min, " to ", max, ", expected from ", min_, " to ", max_));
  return absl::OkStatus();
}

absl::Status TensorStats::ParseHistogram(std::string_view text) {
  ASSIGN_OR_RETURN(const std::string bytes, ParseBase64("histogram", text));
  std::string_view rest = bytes;
  const auto damaged = [](std::string_view what) {
    return absl::DataLossError(absl::StrCat("histogram: ", std::string(what)));
  };
  if (count_ > nonfinite_) histogram_.Cover(min_, max_);
  const size_t size = histogram_.counts().size();
  uint64_t total = 0;
  for (size_t i = 0; i < size; ++i) {
    ASSIGN_OR_RETURN(const uint64_t count, TakeVarint(rest));
    if (count == 0) {
      ASSIGN_OR_RETURN(const uint64_t more, TakeVarint(rest));
      if (more >= size - i) return damaged("more bins than the range has");
      i += more;
      continue;
    }
    if (count > count_ - total) return damaged("counts add up to more than count");
    total += count;
    histogram_.Add(histogram_.first() + static_cast<int>(i), count);
  }
  if (!rest.empty()) return damaged("more bins than the range has");
  if (total != count_ - nonfinite_)
    return damaged(absl::StrCat("counts add up to ", total, ", expected ", count_ - nonfinite_));
  const auto at = [this](float value) {
    return histogram_.counts()[static_cast<size_t>(histogram_.BinOf(value) - histogram_.first())];
  };
  if (size > 0 && (at(min_) == 0 || at(max_) == 0)) return damaged("min or max was never counted");
  return absl::OkStatus();
}

absl::StatusOr<TensorStats> TensorStats::Parse(std::string_view text) {
  TensorStats stats;
  ASSIGN_OR_RETURN(const std::string_view min, TakeField("min", text));
  ASSIGN_OR_RETURN(stats.min_, ParseNumber<float>("min", min));
  ASSIGN_OR_RETURN(const std::string_view max, TakeField("max", text));
  ASSIGN_OR_RETURN(stats.max_, ParseNumber<float>("max", max));
  ASSIGN_OR_RETURN(const std::string_view count, TakeField("count", text));
  ASSIGN_OR_RETURN(stats.count_, ParseNumber<uint64_t>("count", count));
  ASSIGN_OR_RETURN(const std::string_view nonfinite, TakeField("nonfinite", text));
  ASSIGN_OR_RETURN(stats.nonfinite_, ParseNumber<uint64_t>("nonfinite", nonfinite));
  if (stats.count_ > kMaxCount || stats.nonfinite_ > stats.count_)
    return absl::DataLossError(absl::StrCat("count=", stats.count_, " nonfinite=", stats.nonfinite_,
                                            ", expected at most ", kMaxCount, " and count"));
  const bool none = stats.count_ == stats.nonfinite_;
  if (none ? stats.min_ != std::numeric_limits<float>::infinity() || stats.max_ != -stats.min_
           : !std::isfinite(stats.min_) || !std::isfinite(stats.max_) || stats.min_ > stats.max_)
    return absl::DataLossError(
        absl::StrCat("from ", stats.min_, " to ", stats.max_, ", expected ",
                     none ? "inf to -inf where nothing is finite" : "finite min <= max"));
  if (text.starts_with("features=")) stats.axis_ = ChannelAxis::kLast;
  ASSIGN_OR_RETURN(const std::string_view channels,
                   TakeField(stats.axis_ == ChannelAxis::kLast ? "features" : "channels", text));
  RETURN_IF_ERROR(stats.ParseChannels(channels));
  ASSIGN_OR_RETURN(const std::string_view histogram, TakeField("histogram", text));
  RETURN_IF_ERROR(stats.ParseHistogram(histogram));
  if (!text.empty()) return absl::DataLossError("text behind the histogram");
  return stats;
}

}  // namespace hachi
