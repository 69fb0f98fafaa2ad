#include "engine/kernels/reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace hachi::reference {
namespace {

// Calls fn(index) for every index within `shape`, the last axis fastest.
template <typename Fn>
void ForEachIndex(const Shape& shape, const Fn& fn) {
  if (CountOf(shape) == 0) return;
  std::vector<int64_t> index(shape.size(), 0);
  while (true) {
    fn(index);
    size_t axis = shape.size();
    while (axis > 0 && ++index[axis - 1] == shape[axis - 1]) index[--axis] = 0;
    if (axis == 0) return;
  }
}

int64_t Dot(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  int64_t sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

template <typename T>
T Load(const std::byte* base, int64_t index) {
  T value;
  std::memcpy(&value, base + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}
template <typename T>
void Store(T value, std::byte* base, int64_t index) {
  std::memcpy(base + index * static_cast<int64_t>(sizeof(T)), &value, sizeof(T));
}

Shape WithBatch(int64_t rows, const Shape& row_shape) {
  Shape shape{rows};
  for (const int64_t size : row_shape) shape.push_back(size);
  return shape;
}

// A real number that was computed in double, to the nearest integer of T, ties to even.
template <typename T>
T RoundOnce(double x, const QuantParams& quant) {
  const double q = std::nearbyint(x / quant.scale()) + quant.zero_point();
  if (q < std::numeric_limits<T>::lowest()) return std::numeric_limits<T>::lowest();
  if (q > std::numeric_limits<T>::max()) return std::numeric_limits<T>::max();
  return static_cast<T>(q);
}

float ChannelValue(const std::vector<float>& list, int64_t channel, float otherwise) {
  if (list.empty()) return otherwise;
  return list.size() == 1 ? list[0] : list[static_cast<size_t>(channel)];
}

}  // namespace

void Intake(const IntakeSpec& spec, const std::byte* in, int64_t rows, std::byte* out) {
  const Shape shape = WithBatch(rows, spec.row_shape);
  const Layout from = spec.client_channels_last ? Layout::ChannelsLast(shape.size()) : Layout();
  const auto in_strides = from.StridesOf(shape), out_strides = spec.layout.StridesOf(shape);
  const auto bytes = static_cast<int64_t>(SizeOf(spec.client_dtype));
  const bool converts =
      spec.quant || spec.client_dtype != spec.dtype || !spec.mean.empty() || !spec.scale.empty();
  ForEachIndex(shape, [&](const std::vector<int64_t>& index) {
    const int64_t i = Dot(index, in_strides), o = Dot(index, out_strides);
    if (!converts) {
      std::memcpy(out + o * bytes, in + i * bytes, static_cast<size_t>(bytes));
      return;
    }
    const int64_t channel = index.size() > 1 ? index[1] : 0;
    const float mean = ChannelValue(spec.mean, channel, 0), scale = ChannelValue(spec.scale, channel, 1);
    if (spec.client_dtype == DType::kF32) {
      float x = Load<float>(in, i);
      if (!spec.mean.empty() || !spec.scale.empty()) x = (x - mean) * scale;
      if (spec.dtype == DType::kF32) Store(x, out, o);
      if (spec.dtype == DType::kU8)
        Store(QuantizeValue<uint8_t>(x, spec.quant->scale(), spec.quant->zero_point()), out, o);
      if (spec.dtype == DType::kS8)
        Store(QuantizeValue<int8_t>(x, spec.quant->scale(), spec.quant->zero_point()), out, o);
      return;
    }
    double x = spec.client_dtype == DType::kU8 ? Load<uint8_t>(in, i) : Load<int8_t>(in, i);
    x = (x - mean) * scale;
    if (spec.dtype == DType::kF32) Store(static_cast<float>(x), out, o);
    if (spec.dtype == DType::kU8) Store(RoundOnce<uint8_t>(x, *spec.quant), out, o);
    if (spec.dtype == DType::kS8) Store(RoundOnce<int8_t>(x, *spec.quant), out, o);
  });
}

void Outlet(const OutletSpec& spec, const std::byte* in, int64_t rows, std::byte* out) {
  const Shape shape = WithBatch(rows, spec.row_shape);
  const auto in_strides = spec.layout.StridesOf(shape), out_strides = Layout().StridesOf(shape);
  const auto bytes = static_cast<int64_t>(SizeOf(spec.dtype));
  ForEachIndex(shape, [&](const std::vector<int64_t>& index) {
    const int64_t i = Dot(index, in_strides), o = Dot(index, out_strides);
    if (!spec.quant) {
      std::memcpy(out + o * bytes, in + i * bytes, static_cast<size_t>(bytes));
      return;
    }
    const int q = spec.dtype == DType::kU8 ? Load<uint8_t>(in, i) : Load<int8_t>(in, i);
    Store(static_cast<float>(q - spec.quant->zero_point()) * spec.quant->scale(), out, o);
  });
}

void Permute(const Shape& shape, const Layout& from, const Layout& to, size_t element_bytes,
             const std::byte* in, std::byte* out) {
  const auto in_strides = from.StridesOf(shape), out_strides = to.StridesOf(shape);
  const auto bytes = static_cast<int64_t>(element_bytes);
  ForEachIndex(shape, [&](const std::vector<int64_t>& index) {
    std::memcpy(out + Dot(index, out_strides) * bytes, in + Dot(index, in_strides) * bytes, element_bytes);
  });
}

void Softmax(std::span<const float> in, int64_t row_length, std::span<float> out) {
  const auto length = static_cast<size_t>(row_length);
  for (size_t row = 0; row < in.size(); row += length) {
    double max = -std::numeric_limits<double>::infinity(), sum = 0;
    for (size_t i = row; i < row + length; ++i) max = std::max<double>(max, in[i]);
    for (size_t i = row; i < row + length; ++i) sum += std::exp(in[i] - max);
    for (size_t i = row; i < row + length; ++i) out[i] = static_cast<float>(std::exp(in[i] - max) / sum);
  }
}

void GlobalAveragePool(const AvgPoolSpec& spec, int64_t rows, const std::byte* in, std::byte* out) {
  const auto factor = static_cast<float>(static_cast<double>(spec.from_quant.scale()) / spec.pixels);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t c = 0; c < spec.channels; ++c) {
      int64_t sum = 0;
      for (int64_t p = 0; p < spec.pixels; ++p) {
        const int64_t i = (row * spec.pixels + p) * spec.channels + c;
        const int q = spec.from == DType::kU8 ? Load<uint8_t>(in, i) : Load<int8_t>(in, i);
        sum += q - spec.from_quant.zero_point();
      }
      const float mean = static_cast<float>(sum) * factor;
      const int64_t o = row * spec.channels + c;
      if (spec.to == DType::kF32) Store(mean, out, o);
      if (spec.to == DType::kU8)
        Store(QuantizeValue<uint8_t>(mean, spec.to_quant.scale(), spec.to_quant.zero_point()), out, o);
      if (spec.to == DType::kS8)
        Store(QuantizeValue<int8_t>(mean, spec.to_quant.scale(), spec.to_quant.zero_point()), out, o);
    }
}

namespace {

float ApplyFused(const FusedOps& fused, float y, size_t channel) {
  if (fused.post_ops.empty()) return y;
  for (const PostOp& post_op : fused.post_ops) y = ApplyPostOp(post_op, y, 0.0f);
  return std::fma(y, fused.factor[channel], fused.zero_point);
}

}  // namespace

void Depthwise(const DepthwiseSpec& spec, const std::byte* in, int64_t images, std::byte* out) {
  int64_t o = 0;
  for (int64_t image = 0; image < images; ++image)
    for (int64_t y = 0; y < spec.out_height; ++y)
      for (int64_t x = 0; x < spec.out_width; ++x)
        for (int64_t c = 0; c < spec.channels; ++c, ++o) {
          int32_t sum = 0;
          const int64_t kernel = spec.kernel;
          for (int64_t tap = 0; tap < kernel * kernel; ++tap) {
            const int64_t row = y * spec.stride_y - spec.pad_top + tap / kernel,
                          column = x * spec.stride_x - spec.pad_left + tap % kernel;
            const bool outside = row < 0 || row >= spec.height || column < 0 || column >= spec.width;
            const int64_t i = ((image * spec.height + row) * spec.width + column) * spec.channels + c;
            sum += (outside ? spec.zero_point : Load<uint8_t>(in, i)) *
                   spec.weights[static_cast<size_t>(c * kernel * kernel + tap)];
          }
          const auto channel = static_cast<size_t>(c);
          float real = std::fma(static_cast<float>(sum), spec.factor[channel], spec.offset[channel]);
          real = ApplyFused(spec.fused, real, channel);
          const float bounded = std::clamp(std::nearbyint(real), static_cast<float>(spec.lowest),
                                           static_cast<float>(spec.highest));
          if (spec.to == DType::kU8)
            Store(static_cast<uint8_t>(bounded), out, o);
          else
            Store(static_cast<int8_t>(bounded), out, o);
        }
}

void Pointwise(const PointwiseSpec& spec, const std::byte* in, int64_t pixels, const std::byte* residual,
               std::byte* out) {
  const auto load = [](DType type, const std::byte* from, int64_t i) -> int32_t {
    return type == DType::kU8 ? Load<uint8_t>(from, i) : Load<int8_t>(from, i);
  };
  for (int64_t p = 0; p < pixels; ++p)
    for (int64_t c = 0; c < spec.channels; ++c) {
      int32_t sum = 0;
      for (int64_t k = 0; k < spec.depth; ++k)
        sum +=
            load(spec.from, in, p * spec.depth + k) * spec.weights[static_cast<size_t>(c * spec.depth + k)];
      const auto channel = static_cast<size_t>(c);
      const int64_t o = p * spec.channels + c;
      float real = std::fma(static_cast<float>(sum), spec.factor[channel], spec.offset[channel]);
      if (spec.residual)
        real =
            std::fma(static_cast<float>(load(spec.residual->type, residual, o)), spec.residual->factor, real);
      real = ApplyFused(spec.fused, real, channel);
      if (spec.to == DType::kF32) {
        Store(real, out, o);
        continue;
      }
      const float bounded =
          std::clamp(std::nearbyint(real), static_cast<float>(spec.lowest), static_cast<float>(spec.highest));
      if (spec.to == DType::kU8)
        Store(static_cast<uint8_t>(bounded), out, o);
      else
        Store(static_cast<int8_t>(bounded), out, o);
    }
}

void ApplyUnary(UnaryFunction function, std::span<const float> in, std::span<float> out) {
  for (size_t i = 0; i < in.size(); ++i) {
    const double x = in[i];
    const auto y = [&] {
      switch (function) {
        case UnaryFunction::kAbs:
          return std::abs(x);
        case UnaryFunction::kCube:
          return x * x * x;
        case UnaryFunction::kErf:
          return std::erf(x);
        case UnaryFunction::kExp:
          return std::exp(x);
        case UnaryFunction::kLog:
          return std::log(x);
        case UnaryFunction::kNeg:
          return -x;
        case UnaryFunction::kReciprocal:
          return 1.0 / x;
        case UnaryFunction::kSqrt:
          return std::sqrt(x);
        case UnaryFunction::kSquare:
          return x * x;
      }
      return x;
    }();
    out[i] = static_cast<float>(y);
  }
}

void HardSigmoid(std::span<const float> in, float alpha, float beta, std::span<float> out) {
  for (size_t i = 0; i < in.size(); ++i)
    out[i] = static_cast<float>(std::clamp(static_cast<double>(alpha) * in[i] + beta, 0.0, 1.0));
}

void Reduce(Reduction reduction, std::span<const float> in, int64_t length, int64_t inner,
            std::span<float> out) {
  for (int64_t i = 0; i < static_cast<int64_t>(out.size()); ++i) {
    const int64_t first = i / inner * length * inner + i % inner;
    double sum = 0, magnitudes = 0, squares = 0, product = 1;
    double max = -std::numeric_limits<double>::infinity(), min = -max;
    for (int64_t k = 0; k < length; ++k) {
      const double x = in[static_cast<size_t>(first + k * inner)];
      sum += x;
      magnitudes += std::abs(x);
      squares += x * x;
      product *= x;
      max = std::max(max, x);
      min = std::min(min, x);
    }
    const double results[] = {sum, sum / static_cast<double>(length), max, min, product, magnitudes, squares};
    out[static_cast<size_t>(i)] = static_cast<float>(results[static_cast<size_t>(reduction)]);
  }
}

void LayerNorm(const LayerNormSpec& spec, const std::byte* in, int64_t rows, std::byte* out) {
  const int64_t length = spec.row_length;
  for (int64_t row = 0; row < rows; ++row) {
    const auto element = [&](int64_t i) -> double {
      const int64_t at = row * length + i;
      if (spec.from == DType::kF32) return Load<float>(in, at);
      const int q = spec.from == DType::kU8 ? Load<uint8_t>(in, at) : Load<int8_t>(in, at);
      return static_cast<double>(q - spec.from_quant.zero_point()) * spec.from_quant.scale();
    };
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < length; ++i) mean += element(i) / static_cast<double>(length);
    for (int64_t i = 0; i < length; ++i)
      variance += (element(i) - mean) * (element(i) - mean) / static_cast<double>(length);
    for (int64_t i = 0; i < length; ++i) {
      const double normal = (element(i) - mean) / std::sqrt(variance + spec.epsilon);
      const auto index = static_cast<size_t>(i);
      const double y = normal * spec.scale[index] + spec.bias[index];
      const int64_t at = row * length + i;
      if (spec.to == DType::kF32) Store(static_cast<float>(y), out, at);
      if (spec.to == DType::kU8) Store(RoundOnce<uint8_t>(y, spec.to_quant), out, at);
      if (spec.to == DType::kS8) Store(RoundOnce<int8_t>(y, spec.to_quant), out, at);
    }
  }
}

void Select(const bool* condition, SelectSource a, SelectSource b, size_t count, uint32_t* out) {
  for (size_t i = 0; i < count; ++i)
    out[i] = condition[i] ? a.data[a.repeats ? 0 : i] : b.data[b.repeats ? 0 : i];
}

}  // namespace hachi::reference
