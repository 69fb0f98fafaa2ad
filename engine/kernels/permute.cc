#include "engine/kernels/permute.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/cpu/team.h"
#include "engine/kernels/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/permute.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace hachi {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
// One square of as many elements as 16 bytes hold: out[r * out_stride + c] = in[c * in_stride + r]. Each
// round interleaves row i with row i + half, which rotates the bits of an element's (row, column) index by
// one; after log2(lanes) rounds row and column have changed places.
template <typename T>
HWY_INLINE void TransposeSquare(const T* in, int64_t in_stride, T* out, int64_t out_stride) {
  constexpr size_t kLanes = 16 / sizeof(T);
  const hn::FixedTag<T, kLanes> d;
  using V = hn::Vec<decltype(d)>;
  V rows[kLanes], next[kLanes];
  HWY_UNROLL(16)
  for (size_t i = 0; i < kLanes; ++i) rows[i] = hn::LoadU(d, in + static_cast<int64_t>(i) * in_stride);
  HWY_UNROLL(4)
  for (size_t round = 1; round < kLanes; round *= 2) {
    HWY_UNROLL(8)
    for (size_t i = 0; i < kLanes / 2; ++i) {
      next[2 * i] = hn::InterleaveLower(d, rows[i], rows[i + kLanes / 2]);
      next[2 * i + 1] = hn::InterleaveUpper(d, rows[i], rows[i + kLanes / 2]);
    }
    HWY_UNROLL(16)
    for (size_t i = 0; i < kLanes; ++i) rows[i] = next[i];
  }
  HWY_UNROLL(16)
  for (size_t i = 0; i < kLanes; ++i) hn::StoreU(rows[i], d, out + static_cast<int64_t>(i) * out_stride);
}
#endif

// out[r * out_stride + c] = in[c * in_stride + r] for all r < rows, c < columns.
template <typename T>
void TransposeBlock(const T* in, int64_t in_stride, T* out, int64_t out_stride, int64_t rows,
                    int64_t columns) {
  int64_t whole_rows = 0, whole_columns = 0;
#if HWY_TARGET != HWY_SCALAR
  constexpr int64_t kLanes = 16 / sizeof(T);
  whole_rows = rows - rows % kLanes;
  whole_columns = columns - columns % kLanes;
  for (int64_t c = 0; c < whole_columns; c += kLanes)
    for (int64_t r = 0; r < whole_rows; r += kLanes)
      TransposeSquare(in + c * in_stride + r, in_stride, out + r * out_stride + c, out_stride);
#endif
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c)
      out[r * out_stride + c] = in[c * in_stride + r];
}

#define HACHI_TRANSPOSE(name, T)                                                                         \
  void name(const T* in, int64_t in_stride, T* out, int64_t out_stride, int64_t rows, int64_t columns) { \
    TransposeBlock(in, in_stride, out, out_stride, rows, columns);                                       \
  }
HACHI_TRANSPOSE(Transpose1, uint8_t)
HACHI_TRANSPOSE(Transpose2, uint16_t)
HACHI_TRANSPOSE(Transpose4, uint32_t)
HACHI_TRANSPOSE(Transpose8, uint64_t)
#undef HACHI_TRANSPOSE

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hachi
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hachi {
namespace {

HWY_EXPORT(Transpose1);
HWY_EXPORT(Transpose2);
HWY_EXPORT(Transpose4);
HWY_EXPORT(Transpose8);

auto KernelFor(const uint8_t*) { return HACHI_DISPATCH(Transpose1); }
auto KernelFor(const uint16_t*) { return HACHI_DISPATCH(Transpose2); }
auto KernelFor(const uint32_t*) { return HACHI_DISPATCH(Transpose4); }
auto KernelFor(const uint64_t*) { return HACHI_DISPATCH(Transpose8); }

// Bytes worth waking the team for: some µs of one core.
constexpr int64_t kGrainBytes = 1 << 16;

}  // namespace

absl::StatusOr<Permute> Permute::Create(const Shape& shape, const Layout& from, const Layout& to,
                                        size_t element_bytes) {
  if (element_bytes != 1 && element_bytes != 2 && element_bytes != 4 && element_bytes != 8)
    return absl::InvalidArgumentError(
        absl::StrCat("permute: elements of ", element_bytes, " bytes, expected 1, 2, 4 or 8"));
  Permute permute;
  permute.element_bytes_ = element_bytes;
  permute.count_ = CountOf(shape);
  if (permute.count_ == 0) return permute;

  // Axes in the order of `to`, without those of one element, merged where both sides allow it.
  const auto in_strides = from.StridesOf(shape), out_strides = to.StridesOf(shape);
  std::vector<Axis> axes;
  for (const int axis : to.Order(shape.size())) {
    const Axis next{shape[axis], in_strides[axis], out_strides[axis]};
    if (next.size == 1) continue;
    if (!axes.empty() && axes.back().in_stride == next.size * next.in_stride)
      axes.back() = {axes.back().size * next.size, next.in_stride, next.out_stride};
    else
      axes.push_back(next);
  }
  if (axes.empty()) return permute;
  permute.last_ = axes.back();
  axes.pop_back();
  if (permute.last_.in_stride != 1) {
    // The order is dense, so one of the other axes is innermost there.
    const auto inner = std::find_if(axes.begin(), axes.end(), [](const Axis& a) { return a.in_stride == 1; });
    permute.inner_ = *inner;
    permute.transposes_ = true;
    axes.erase(inner);
  }
  permute.outer_ = std::move(axes);
  return permute;
}

// Offsets of number `index` among the outer axes' combinations.
template <typename Axes>
static std::pair<int64_t, int64_t> OffsetsOf(const Axes& axes, int64_t index) {
  int64_t in = 0, out = 0;
  for (size_t i = axes.size(); i-- > 0;) {
    const int64_t at = index % axes[i].size;
    index /= axes[i].size;
    in += at * axes[i].in_stride;
    out += at * axes[i].out_stride;
  }
  return {in, out};
}

template <typename T>
void Permute::CopyRuns(const T* in, T* out) const {
  constexpr auto kGrain = kGrainBytes / static_cast<int64_t>(sizeof(T));
  if (outer_.empty()) {
    ParallelFor(last_.size, kGrain, [&](int64_t begin, int64_t end) {
      std::memcpy(out + begin, in + begin, static_cast<size_t>(end - begin) * sizeof(T));
    });
    return;
  }
  ParallelFor(count_ / last_.size, (kGrain - 1) / last_.size + 1, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run) {
      const auto [from, to] = OffsetsOf(outer_, run);
      std::memcpy(out + to, in + from, static_cast<size_t>(last_.size) * sizeof(T));
    }
  });
}

template <typename T>
void Permute::Transpose(const T* in, T* out) const {
  // A block reads one cache line of each of `in`'s runs.
  constexpr int64_t kBlock = 64 / sizeof(T);
  const int64_t blocks = (inner_.size - 1) / kBlock + 1;
  const int64_t items = count_ / (inner_.size * last_.size) * blocks;
  const auto transpose = KernelFor(in);
  ParallelFor(items, (kGrainBytes - 1) / (64 * last_.size) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const auto [from, to] = OffsetsOf(outer_, item / blocks);
      const int64_t first = item % blocks * kBlock;
      transpose(in + from + first, last_.in_stride, out + to + first * inner_.out_stride, inner_.out_stride,
                std::min(kBlock, inner_.size - first), last_.size);
    }
  });
}

void Permute::Run(const std::byte* in, std::byte* out) const {
  if (count_ == 0) return;
  const auto run = [&]<typename T>(T) {
    const T* from = reinterpret_cast<const T*>(in);
    T* to = reinterpret_cast<T*>(out);
    transposes_ ? Transpose(from, to) : CopyRuns(from, to);
  };
  switch (element_bytes_) {
    case 1:
      return run(uint8_t{});
    case 2:
      return run(uint16_t{});
    case 4:
      return run(uint32_t{});
    case 8:
      return run(uint64_t{});
  }
}

}  // namespace hachi
#endif
