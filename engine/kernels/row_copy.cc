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
#include "engine/kernels/transpose.h"

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

void RowCopy::Cursor::Skip(size_t bytes) {
  for (offset += bytes; offset > chunk->size(); ++chunk) offset -= chunk->size();
}

void RowCopy::Cursor::ToNextByte() {
  for (; offset == chunk->size(); ++chunk) offset = 0;
}

void RowCopy::Run(std::span<const std::span<const std::byte>> chunks, int64_t rows, std::byte* out) const {
  // Elements worth waking the team for. Threads share no row whose order changes: they would write to the
  // same cache lines.
  constexpr int64_t kGrain = 1 << 15;
  if (row_elements_ == 0) return;
  if (axes_.empty()) {
    ParallelFor(rows * row_elements_, kGrain, [&](int64_t begin, int64_t end) {
      Cursor cursor{chunks.data()};
      cursor.Skip(static_cast<size_t>(begin) * from_bytes_);
      CopyInOrder(cursor, begin, end - begin, out + static_cast<size_t>(begin) * to_bytes_);
    });
    return;
  }
  ParallelFor(rows, (kGrain - 1) / row_elements_ + 1, [&](int64_t begin, int64_t end) {
    Cursor cursor{chunks.data()};
    cursor.Skip(static_cast<size_t>(begin * row_elements_) * from_bytes_);
    for (int64_t row = begin; row < end; ++row)
      CopyRow(cursor, out + static_cast<size_t>(row * row_elements_) * to_bytes_);
  });
}

// The next row, which changes its order.
void RowCopy::CopyRow(Cursor& cursor, std::byte* out_row) const {
  alignas(64) std::byte block[kBlock * sizeof(double)];
  const int64_t inner = axes_.back().size, outer = row_elements_ / inner;
  if (axes_.size() == 2 && outer <= kMostPlanes && inner > kMostPlanes) {
    // Planes, few and long, change places with their elements: strips of all planes are transposed.
    const int64_t strip = kBlock / outer;
    for (int64_t first = 0; first < inner; first += strip) {
      const int64_t n = std::min(strip, inner - first);
      for (int64_t o = 0; o < outer; ++o) {
        Cursor at = cursor;
        at.Skip(static_cast<size_t>(o * inner + first) * from_bytes_);
        CopyInOrder(at, o * inner + first, n, block + static_cast<size_t>(o * strip) * to_bytes_);
      }
      Transpose(to_bytes_, block, strip, out_row + static_cast<size_t>(first * outer) * to_bytes_, outer, n,
                outer);
    }
    cursor.Skip(static_cast<size_t>(row_elements_) * from_bytes_);
    return;
  }
  for (int64_t position = 0; position < row_elements_; position += kBlock) {
    const int64_t n = std::min(kBlock, row_elements_ - position);
    CopyInOrder(cursor, position, n, block);
    switch (to_bytes_) {
      case 1:
        Place<uint8_t>(block, position, n, out_row);
        break;
      case 2:
        Place<uint16_t>(block, position, n, out_row);
        break;
      case 4:
        Place<uint32_t>(block, position, n, out_row);
        break;
      case 8:
        Place<uint64_t>(block, position, n, out_row);
        break;
    }
  }
}

// The next `count` elements, one after the other; `position` counts from the beginning of any row.
void RowCopy::CopyInOrder(Cursor& cursor, int64_t position, int64_t count, std::byte* out) const {
  while (count > 0) {
    cursor.ToNextByte();
    int64_t n = std::min(count, static_cast<int64_t>((cursor.chunk->size() - cursor.offset) / from_bytes_));
    if (n > 0) {
      ConvertPiece(cursor.chunk->data() + cursor.offset, position, n, out);
      cursor.offset += static_cast<size_t>(n) * from_bytes_;
    } else {
      // An element that two chunks (or more) share.
      std::array<std::byte, sizeof(double)> element;
      for (size_t i = 0; i < from_bytes_; ++i, ++cursor.offset) {
        cursor.ToNextByte();
        element[i] = (*cursor.chunk)[cursor.offset];
      }
      n = 1;
      ConvertPiece(element.data(), position, n, out);
    }
    position += n;
    count -= n;
    out += static_cast<size_t>(n) * to_bytes_;
  }
}

// `count` elements that lie in one piece.
void RowCopy::ConvertPiece(const std::byte* in, int64_t position, int64_t count, std::byte* out) const {
  if (kind_ == Kind::kCopy) {
    std::memcpy(out, in, static_cast<size_t>(count) * to_bytes_);
    return;
  }
  const bool aligned = reinterpret_cast<uintptr_t>(out) % to_bytes_ == 0;
  while (count > 0) {
    int64_t n = std::min(count, kConverted);
    // Channels either cycle or stay the same for all that is converted at a time.
    if (channel_run_ > 1) n = std::min(n, channel_run_ - position % channel_run_);
    if (aligned) {
      Convert(in, position, n, out);
    } else {
      alignas(64) std::byte converted[kConverted * sizeof(float)];
      Convert(in, position, n, converted);
      std::memcpy(out, converted, static_cast<size_t>(n) * to_bytes_);
    }
    in += static_cast<size_t>(n) * from_bytes_;
    position += n;
    count -= n;
    out += static_cast<size_t>(n) * to_bytes_;
  }
}

// REQUIRES: `out` is aligned for its type; count <= kConverted; one channel for all, or channels that cycle.
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
  alignas(64) float values[kConverted];
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
    const int64_t groups = inner_at == 0 ? std::min(count / inner.size, outer_left) : 0;
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
