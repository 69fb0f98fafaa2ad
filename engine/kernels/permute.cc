#include "engine/kernels/permute.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/cpu/team.h"
#include "engine/kernels/transpose.h"

namespace hachi {
namespace {

// Bytes worth waking the team for: some µs of one core.
constexpr int64_t kGrainBytes = 1 << 16;

// Offsets of number `index` among the outer axes' combinations.
template <typename Axes>
std::pair<int64_t, int64_t> OffsetsOf(const Axes& axes, int64_t index) {
  int64_t in = 0, out = 0;
  for (size_t i = axes.size(); i-- > 0;) {
    const int64_t at = index % axes[i].size;
    index /= axes[i].size;
    in += at * axes[i].in_stride;
    out += at * axes[i].out_stride;
  }
  return {in, out};
}

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

void Permute::CopyRuns(const std::byte* in, std::byte* out) const {
  const auto bytes = static_cast<int64_t>(element_bytes_);
  if (outer_.empty()) {
    ParallelFor(last_.size * bytes, kGrainBytes, [&](int64_t begin, int64_t end) {
      std::memcpy(out + begin, in + begin, static_cast<size_t>(end - begin));
    });
    return;
  }
  const int64_t run_bytes = last_.size * bytes;
  ParallelFor(count_ / last_.size, (kGrainBytes - 1) / run_bytes + 1, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run) {
      const auto [from, to] = OffsetsOf(outer_, run);
      std::memcpy(out + to * bytes, in + from * bytes, static_cast<size_t>(run_bytes));
    }
  });
}

void Permute::TransposeRuns(const std::byte* in, std::byte* out) const {
  // A strip reads one cache line of each of `in`'s runs.
  const auto bytes = static_cast<int64_t>(element_bytes_);
  const int64_t strip = 64 / bytes, strips = (inner_.size - 1) / strip + 1;
  const int64_t items = count_ / (inner_.size * last_.size) * strips;
  ParallelFor(items, (kGrainBytes - 1) / (64 * last_.size) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const auto [from, to] = OffsetsOf(outer_, item / strips);
      const int64_t first = item % strips * strip;
      Transpose(element_bytes_, in + (from + first) * bytes, last_.in_stride,
                out + (to + first * inner_.out_stride) * bytes, inner_.out_stride,
                std::min(strip, inner_.size - first), last_.size);
    }
  });
}

void Permute::Run(const std::byte* in, std::byte* out) const {
  if (count_ == 0) return;
  if (transposes_)
    TransposeRuns(in, out);
  else
    CopyRuns(in, out);
}

}  // namespace hachi
