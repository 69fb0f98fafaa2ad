#include "engine/ops/strided_copy.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "engine/cpu/team.h"
#include "engine/kernels/lut.h"

namespace hachi {
namespace {

constexpr int64_t kGrainBytes = 1 << 16;  // worth waking the team for: some µs of one core

template <typename T>
void CopyElements(const std::byte* in, int64_t in_stride, std::byte* out, int64_t out_stride, int64_t count) {
  const T* from = reinterpret_cast<const T*>(in);
  T* to = reinterpret_cast<T*>(out);
  for (int64_t i = 0; i < count; ++i) to[i * out_stride] = from[i * in_stride];
}

}  // namespace

StridedCopy::StridedCopy(const Shape& shape, int64_t in_begin, const std::vector<int64_t>& in_strides,
                         int64_t out_begin, const std::vector<int64_t>& out_strides, size_t element_bytes,
                         std::optional<std::array<uint8_t, 256>> table)
    : in_begin_(in_begin), out_begin_(out_begin), bytes_(static_cast<int64_t>(element_bytes)), table_(table) {
  std::vector<size_t> order(shape.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return out_strides[a] > out_strides[b]; });
  std::vector<Axis> axes;
  for (const size_t axis : order) {
    const Axis next{shape[axis], in_strides[axis], out_strides[axis]};
    if (next.size == 1) continue;
    if (!axes.empty() && axes.back().in_stride == next.size * next.in_stride &&
        axes.back().out_stride == next.size * next.out_stride)
      axes.back() = {axes.back().size * next.size, next.in_stride, next.out_stride};
    else
      axes.push_back(next);
  }
  if (!axes.empty()) {
    inner_ = axes.back();
    axes.pop_back();
  }
  for (const Axis& axis : axes) rows_ *= axis.size;
  outer_ = std::move(axes);
}

void StridedCopy::CopyRow(const std::byte* in, std::byte* out) const {
  const auto count = static_cast<size_t>(inner_.size);
  if (table_) {
    if (inner_.in_stride == 1 && inner_.out_stride == 1) {
      MapBytes({reinterpret_cast<const uint8_t*>(in), count}, *table_,
               {reinterpret_cast<uint8_t*>(out), count});
    } else {
      for (int64_t i = 0; i < inner_.size; ++i)
        out[i * inner_.out_stride] =
            static_cast<std::byte>((*table_)[static_cast<uint8_t>(in[i * inner_.in_stride])]);
    }
  } else if (inner_.in_stride == 1 && inner_.out_stride == 1) {
    std::memcpy(out, in, count * static_cast<size_t>(bytes_));
  } else if (bytes_ == 1) {
    CopyElements<uint8_t>(in, inner_.in_stride, out, inner_.out_stride, inner_.size);
  } else if (bytes_ == 2) {
    CopyElements<uint16_t>(in, inner_.in_stride, out, inner_.out_stride, inner_.size);
  } else if (bytes_ == 4) {
    CopyElements<uint32_t>(in, inner_.in_stride, out, inner_.out_stride, inner_.size);
  } else {
    CopyElements<uint64_t>(in, inner_.in_stride, out, inner_.out_stride, inner_.size);
  }
}

void StridedCopy::Run(const std::byte* in, std::byte* out) const {
  if (rows_ == 0 || inner_.size == 0) return;
  ParallelFor(rows_, kGrainBytes / (inner_.size * bytes_) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t from = in_begin_, to = out_begin_, rest = row;
      for (size_t i = outer_.size(); i-- > 0; rest /= outer_[i].size) {
        from += rest % outer_[i].size * outer_[i].in_stride;
        to += rest % outer_[i].size * outer_[i].out_stride;
      }
      CopyRow(in + from * bytes_, out + to * bytes_);
    }
  });
}

}  // namespace hachi
