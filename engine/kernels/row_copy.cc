#include "engine/kernels/row_copy.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"
#include "engine/kernels/lut.h"
#include "engine/kernels/quantize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/row_copy.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// out[i] = (in[i] - mean[c]) * scale[c], where c starts at `channel` and wraps at `channels`; mean and scale
// go on, repeated, for a vector more. In place is fine.
void Normalise(const float* in, size_t count, const float* mean, const float* scale, size_t channel,
               size_t channels, float* out) {
  static_assert(HWY_MAX_BYTES / sizeof(float) <= kMaxFloatLanes);
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d), advance = lanes % channels;
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto x = hn::Sub(hn::LoadU(d, in + i), hn::LoadU(d, mean + channel));
    hn::StoreU(hn::Mul(x, hn::LoadU(d, scale + channel)), d, out + i);
    channel += advance;
    if (channel >= channels) channel -= channels;
  }
  for (; i < count; ++i) {
    out[i] = (in[i] - mean[channel]) * scale[channel];
    if (++channel == channels) channel = 0;
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {

HWY_EXPORT(Normalise);

// out[i] = tables[c][in[i]], where c starts at `channel` and wraps at `channels`.
template <typename T>
void MapChannels(const uint8_t* in, int64_t count, const T* tables, int64_t channel, int64_t channels,
                 T* out) {
  int64_t i = 0;
  const auto map = [&](int64_t c) {
    out[i] = tables[c * 256 + in[i]];
    ++i;
  };
  for (; i < count && channel != 0; channel = (channel + 1) % channels) map(channel);
  if (channels == 3)
    for (; i + 3 <= count;) {
      map(0);
      map(1);
      map(2);
    }
  else
    for (; i + channels <= count;)
      for (int64_t c = 0; c < channels; ++c) map(c);
  for (int64_t c = 0; i < count; ++c) map(c);
}

template <typename T>
void MapRun(std::span<const uint8_t> in, const T* tables, int64_t channel, int64_t channels, T* out) {
  if (channels == 1)
    MapBytes(in, std::span<const T, 256>(tables, 256), std::span<T>(out, in.size()));
  else
    MapChannels(in.data(), static_cast<int64_t>(in.size()), tables, channel, channels, out);
}

// Elements may be unaligned on both sides.
template <typename T>
void CopyStrided(const std::byte* from, int64_t from_stride, std::byte* to, int64_t to_stride,
                 int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(to + i * to_stride * static_cast<int64_t>(sizeof(T)),
                from + i * from_stride * static_cast<int64_t>(sizeof(T)), sizeof(T));
}

template <typename Table>
bool IsIdentity(const Table& tables) {
  for (size_t i = 0; i < tables.size(); ++i)
    if (tables[i] != i % 256) return false;
  return !tables.empty();
}

}  // namespace

absl::StatusOr<RowCopy> RowCopy::Create(const Shape& row_shape, DType from_dtype, const Layout& from,
                                        DType to_dtype, const Layout& to, Conversion conversion) {
  Shape shape{1};
  shape.insert(shape.end(), row_shape.begin(), row_shape.end());
  for (const Layout* layout : {&from, &to})
    if (layout->Order(shape.size()).front() != 0)
      return absl::InvalidArgumentError(
          absl::StrCat("layout ", layout->ToText(), ", expected one with the batch outermost"));
  RowCopy copy;
  copy.from_bytes_ = SizeOf(from_dtype);
  copy.to_bytes_ = SizeOf(to_dtype);
  copy.to_dtype_ = to_dtype;
  ASSIGN_OR_RETURN(copy.row_elements_, CheckedCount(shape, sizeof(double)));

  // Bytes that map to themselves are copied.
  if (IsIdentity(conversion.byte_tables)) conversion = {};
  if (!conversion.byte_tables.empty() || !conversion.float_tables.empty())
    copy.kind_ = Kind::kTable;
  else if (!conversion.mean.empty() || conversion.quant)
    copy.kind_ = Kind::kFloat;

  const auto from_strides = from.StridesOf(shape), to_strides = to.StridesOf(shape);
  copy.channels_ = static_cast<int64_t>(
      std::max({conversion.byte_tables.size() / 256, conversion.float_tables.size() / 256,
                conversion.mean.size(), size_t{1}}));
  if (copy.channels_ > 1) copy.channel_run_ = from_strides[1];
  for (auto* list : {&conversion.mean, &conversion.scale})
    for (size_t i = 0; !list->empty() && i < kMaxFloatLanes; ++i) list->push_back(list->at(i));
  copy.conversion_ = std::move(conversion);

  // Axes of one element do not count; neighbours that are neighbours on the other side too are one axis.
  for (const int axis : from.Order(shape.size())) {
    const Axis next{shape[axis], to_strides[axis]};
    if (next.size == 1) continue;
    if (!copy.axes_.empty() && copy.axes_.back().stride == next.size * next.stride)
      copy.axes_.back() = {copy.axes_.back().size * next.size, next.stride};
    else
      copy.axes_.push_back(next);
  }
  if (copy.axes_.size() == 1) copy.axes_.clear();
  return copy;
}

void RowCopy::Run(std::span<const std::span<const std::byte>> chunks, int64_t rows, std::byte* out) const {
  // Elements worth waking the team for. Threads share no row whose order changes: they would write to the
  // same cache lines.
  constexpr int64_t kGrain = 1 << 15;
  const int64_t grain = axes_.empty() ? kGrain : std::max<int64_t>(row_elements_, 1);
  ParallelFor(rows * row_elements_, grain,
              [&](int64_t begin, int64_t end) { CopyRange(chunks, begin, end, out); });
}

void RowCopy::CopyRange(std::span<const std::span<const std::byte>> chunks, int64_t begin, int64_t end,
                        std::byte* out) const {
  size_t offset = static_cast<size_t>(begin) * from_bytes_;
  auto chunk = chunks.begin();
  while (begin < end) {
    while (offset >= chunk->size()) {
      offset -= chunk->size();
      ++chunk;
    }
    const int64_t row = begin / row_elements_, position = begin % row_elements_;
    std::byte* out_row = out + static_cast<size_t>(row * row_elements_) * to_bytes_;
    int64_t count = static_cast<int64_t>((chunk->size() - offset) / from_bytes_);
    if (count > 0) {
      count = std::min({count, end - begin, row_elements_ - position});
      CopyPiece(chunk->data() + offset, position, count, out_row);
      offset += static_cast<size_t>(count) * from_bytes_;
    } else {
      // An element that two chunks (or more) share.
      std::array<std::byte, sizeof(double)> element;
      for (size_t i = 0; i < from_bytes_; ++i, ++offset) {
        while (offset == chunk->size()) {
          offset = 0;
          ++chunk;
        }
        element[i] = (*chunk)[offset];
      }
      count = 1;
      CopyPiece(element.data(), position, count, out_row);
    }
    begin += count;
  }
}

// `count` elements of one row, contiguous in the source, that begin at `position`.
void RowCopy::CopyPiece(const std::byte* in, int64_t position, int64_t count, std::byte* out_row) const {
  const auto place = [&](const std::byte* from, int64_t n) {
    if (axes_.empty()) {
      std::memcpy(out_row + static_cast<size_t>(position) * to_bytes_, from,
                  static_cast<size_t>(n) * to_bytes_);
      return;
    }
    switch (to_bytes_) {
      case 1:
        return Place<uint8_t>(from, position, n, out_row);
      case 2:
        return Place<uint16_t>(from, position, n, out_row);
      case 4:
        return Place<uint32_t>(from, position, n, out_row);
      case 8:
        return Place<uint64_t>(from, position, n, out_row);
    }
  };
  if (kind_ == Kind::kCopy) return place(in, count);

  alignas(64) std::byte converted[kBlock * sizeof(float)];
  while (count > 0) {
    int64_t n = std::min(count, kBlock);
    // Channels either cycle within a block or stay the same for all of it.
    if (channel_run_ > 1) n = std::min(n, channel_run_ - position % channel_run_);
    std::byte* out = out_row + static_cast<size_t>(position) * to_bytes_;
    if (axes_.empty() && reinterpret_cast<uintptr_t>(out) % to_bytes_ == 0) {
      Convert(in, position, n, out);
    } else {
      Convert(in, position, n, converted);
      place(converted, n);
    }
    in += static_cast<size_t>(n) * from_bytes_;
    position += n;
    count -= n;
  }
}

// REQUIRES: `out` is aligned for its type; count <= kBlock; one channel for all, or channels that cycle.
void RowCopy::Convert(const std::byte* in, int64_t position, int64_t count, std::byte* out) const {
  const bool one_channel = channel_run_ > 1;
  const int64_t channel = position / channel_run_ % channels_;
  const auto n = static_cast<size_t>(count);
  if (kind_ == Kind::kTable) {
    const std::span bytes(reinterpret_cast<const uint8_t*>(in), n);
    const auto map = [&](const auto& tables, auto* to) {
      if (one_channel)
        MapRun(bytes, tables.data() + channel * 256, 0, 1, to);
      else
        MapRun(bytes, tables.data(), channel, channels_, to);
    };
    if (to_dtype_ == DType::kF32)
      map(conversion_.float_tables, reinterpret_cast<float*>(out));
    else
      map(conversion_.byte_tables, reinterpret_cast<uint8_t*>(out));
    return;
  }
  alignas(64) float values[kBlock];
  std::memcpy(values, in, n * sizeof(float));
  if (!conversion_.mean.empty()) {
    const auto normalise = HACHI_DISPATCH(Normalise);
    const auto c = static_cast<size_t>(channel);
    if (one_channel) {
      alignas(64) float mean[kMaxFloatLanes + 1], scale[kMaxFloatLanes + 1];
      std::fill(std::begin(mean), std::end(mean), conversion_.mean[c]);
      std::fill(std::begin(scale), std::end(scale), conversion_.scale[c]);
      normalise(values, n, mean, scale, 0, 1, values);
    } else {
      normalise(values, n, conversion_.mean.data(), conversion_.scale.data(), c,
                static_cast<size_t>(channels_), values);
    }
  }
  if (!conversion_.quant) {
    std::memcpy(out, values, n * sizeof(float));
    return;
  }
  const std::span<const float> reals(values, n);
  const float scale = conversion_.quant->scale();
  const int32_t zero_point = conversion_.quant->zero_point();
  if (to_dtype_ == DType::kU8)
    Quantize(reals, scale, zero_point, std::span(reinterpret_cast<uint8_t*>(out), n));
  else
    Quantize(reals, scale, zero_point, std::span(reinterpret_cast<int8_t*>(out), n));
}

// Puts `count` elements of a row, in the source's order from `position` on, where they belong.
template <typename T>
void RowCopy::Place(const std::byte* from, int64_t position, int64_t count, std::byte* out_row) const {
  constexpr auto kBytes = static_cast<int64_t>(sizeof(T));
  constexpr int64_t kStrip = 4096;  // elements that stay in the first cache between the strips
  const Axis& inner = axes_[axes_.size() - 1];
  const Axis& outer = axes_[axes_.size() - 2];
  while (count > 0) {
    int64_t rest = position, offset = 0;
    for (size_t i = axes_.size(); i-- > 0;) {
      offset += rest % axes_[i].size * axes_[i].stride;
      rest /= axes_[i].size;
    }
    std::byte* to = out_row + offset * kBytes;
    const int64_t inner_at = position % inner.size;
    const int64_t outer_left = outer.size - position / inner.size % outer.size;
    // Whole runs of the inner axis, if short, are copied across: a strip for each inner index.
    const int64_t groups = inner_at == 0 ? std::min(std::min(count, kStrip) / inner.size, outer_left) : 0;
    int64_t n;
    if (groups >= 8) {
      n = groups * inner.size;
      for (int64_t i = 0; i < inner.size; ++i)
        CopyStrided<T>(from + i * kBytes, inner.size, to + i * inner.stride * kBytes, outer.stride, groups);
    } else {
      n = std::min(count, inner.size - inner_at);
      CopyStrided<T>(from, 1, to, inner.stride, n);
    }
    from += n * kBytes;
    position += n;
    count -= n;
  }
}

}  // namespace hachi
#endif
