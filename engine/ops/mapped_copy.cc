#include "engine/ops/mapped_copy.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <utility>

#include "engine/cpu/team.h"

namespace hachi {
namespace {

constexpr int64_t kGrainBytes = 1 << 16;  // worth waking the team for: some µs of one core

class MappedStep final : public KernelStep {
 public:
  MappedStep(const TensorSpec& src, const TensorSpec& dst, const AxisMaps& maps, std::vector<std::byte> fill)
      : bytes_(static_cast<int64_t>(fill.size())), fill_(std::move(fill)) {
    const std::vector<int64_t> in_strides = src.layout.StridesOf(src.shape);
    for (const int axis : dst.layout.Order(dst.shape.size())) {
      std::vector<int64_t> offsets;
      for (const int64_t index : maps[static_cast<size_t>(axis)])
        offsets.push_back(index == kFilled ? kFilled
                                           : index * in_strides[static_cast<size_t>(axis)] * bytes_);
      outer_.push_back(std::move(offsets));
    }
    MakeRuns();
    for (const auto& offsets : outer_) rows_ *= static_cast<int64_t>(offsets.size());
    filled_row_.resize(static_cast<size_t>(row_bytes_));
    Fill(filled_row_.data(), row_bytes_);
  }

  bool Reads(size_t input) const override { return input == 0; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    if (row_bytes_ == 0) return absl::OkStatus();
    ParallelFor(rows_, kGrainBytes / row_bytes_ + 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        int64_t from = 0, rest = row;
        bool filled = false;
        for (size_t axis = outer_.size(); axis-- > 0;) {
          const auto size = static_cast<int64_t>(outer_[axis].size());
          const int64_t offset = outer_[axis][static_cast<size_t>(rest % size)];
          filled = filled || offset == kFilled;
          from += offset;
          rest /= size;
        }
        std::byte* out = buffers.outputs[0] + row * row_bytes_;
        if (filled)
          std::memcpy(out, filled_row_.data(), filled_row_.size());
        else
          CopyRow(buffers.inputs[0] + from, out);
      }
    });
    return absl::OkStatus();
  }

 private:
  // Consecutive elements of a row that come from the input `step` bytes apart.
  struct Piece {
    int64_t from, step, count;  // from: kFilled where they are filled
  };

  // Axes that lie together in both and keep their order are one; the innermost becomes pieces.
  void MakeRuns() {
    std::vector<int64_t> row{0};  // input offsets of a row's elements
    constexpr size_t kMostInRow = 4096;
    while (!outer_.empty() && (row.size() == 1 || row.size() * outer_.back().size() <= kMostInRow)) {
      std::vector<int64_t> longer;
      for (const int64_t offset : outer_.back())
        for (const int64_t inner : row)
          longer.push_back(offset == kFilled || inner == kFilled ? kFilled : offset + inner);
      row = std::move(longer);
      outer_.pop_back();
    }
    for (size_t i = 0; i < row.size();) {
      size_t end = i + 1;
      const int64_t step =
          end < row.size() && row[i] != kFilled && row[end] != kFilled ? row[end] - row[i] : 0;
      while (end < row.size() && (row[i] == kFilled ? row[end] == kFilled
                                                    : row[end] != kFilled && row[end] - row[end - 1] == step))
        ++end;
      pieces_.push_back({row[i], step, static_cast<int64_t>(end - i)});
      i = end;
    }
    row_bytes_ = static_cast<int64_t>(row.size()) * bytes_;
  }

  void Fill(std::byte* out, int64_t size) const {
    for (int64_t at = 0; at < size; at += bytes_) std::memcpy(out + at, fill_.data(), fill_.size());
  }

  void CopyRow(const std::byte* in, std::byte* out) const {
    for (const Piece& piece : pieces_) {
      const int64_t size = piece.count * bytes_;
      if (piece.from == kFilled) {
        std::memcpy(out, filled_row_.data(), static_cast<size_t>(size));
      } else if (piece.step == bytes_) {
        std::memcpy(out, in + piece.from, static_cast<size_t>(size));
      } else {
        for (int64_t i = 0; i < piece.count; ++i)
          std::memcpy(out + i * bytes_, in + piece.from + i * piece.step, static_cast<size_t>(bytes_));
      }
      out += size;
    }
  }

  const int64_t bytes_;  // of an element
  const std::vector<std::byte> fill_;
  std::vector<std::vector<int64_t>> outer_;  // byte offsets along the axes around a row, outermost first
  std::vector<Piece> pieces_;                // of a row
  std::vector<std::byte> filled_row_;
  int64_t rows_ = 1, row_bytes_ = 0;
};

}  // namespace

void CopyMapped(const TensorView& in, const AxisMaps& maps, std::span<const std::byte> fill, Tensor& out) {
  for (int64_t i = 0; i < out.count(); ++i) {
    int64_t from = 0, stride = 1, rest = i;
    bool filled = false;
    for (size_t axis = maps.size(); axis-- > 0; rest /= out.shape()[axis], stride *= in.shape[axis]) {
      const int64_t index = maps[axis][static_cast<size_t>(rest % out.shape()[axis])];
      filled = filled || index == kFilled;
      from += index * stride;
    }
    const std::byte* element = filled ? fill.data() : in.bytes + from * static_cast<int64_t>(fill.size());
    std::memcpy(out.bytes().data() + i * static_cast<int64_t>(fill.size()), element, fill.size());
  }
}

StepMaker TakeMapped(const LowerContext& context, const AxisMaps& maps, std::vector<std::byte> fill) {
  return [src = context.Input(0), dst = context.Output(), maps, fill = std::move(fill)] {
    return std::make_unique<MappedStep>(src, dst, maps, fill);
  };
}

}  // namespace hachi
