#include "engine/kernels/pointwise.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <vector>

#include "engine/cpu/isa.h"
#include "engine/cpu/team.h"
#include "engine/kernels/reference.h"
#include "engine/tensor/tensor.h"

namespace hachi {
namespace {

int32_t ValueAt(DType type, const Tensor& tensor, int64_t i) {
  const uint8_t byte = tensor.As<uint8_t>()[static_cast<size_t>(i)];
  return type == DType::kU8 ? byte : static_cast<int8_t>(byte);
}

TEST(PointwiseTest, EqualsTheReferenceForEveryWidthDepthAndType) {
  if (DetectIsa() < Isa::kAvx512Vnni) GTEST_SKIP() << "no AVX-512 VNNI";
  std::mt19937 random(1);
  for (const int threads : {1, 2})
    for (const int64_t depth : {4, 24, 100})
      for (const int64_t channels : {1, 17, 48, 63, 64, 144})
        for (const int64_t pixels : {1, 6, 49, 110})
          for (int types = 0; types < 8; ++types)
            for (const bool has_residual : {false, true}) {
              SetTeam(threads);
              const auto type = [&](int bit) { return (types >> bit & 1) != 0 ? DType::kS8 : DType::kU8; };
              PointwiseSpec spec{.depth = depth, .channels = channels, .from = type(0), .to = type(1)};
              spec.lowest = spec.to == DType::kU8 ? 2 : -90;
              spec.highest = spec.to == DType::kU8 ? 251 : 100;
              if (has_residual) spec.residual = {type(2), 0.7f};
              if (!has_residual && type(2) == DType::kS8) continue;
              for (int64_t i = 0; i < channels * depth; ++i)
                spec.weights.push_back(static_cast<int8_t>(random()));
              for (int64_t c = 0; c < channels; ++c) {
                spec.factor.push_back(static_cast<float>(random() % 1000 + 1) * 1e-6f);
                spec.offset.push_back(static_cast<float>(random() % 100));
              }
              Tensor in(DType::kU8, {pixels, depth}), residual(DType::kU8, {pixels, channels});
              for (Tensor* tensor : {&in, &residual})
                for (uint8_t& byte : tensor->As<uint8_t>()) byte = static_cast<uint8_t>(random());
              const Shape shape = {pixels, channels};
              Tensor got(DType::kU8, shape), want(DType::kU8, shape);
              const auto packed = std::make_shared<const AlignedBuffer>(Pointwise::Pack(spec));
              Pointwise(spec, packed)
                  .Run(in.bytes().data(), pixels, residual.bytes().data(), got.bytes().data());
              reference::Pointwise(spec, in.bytes().data(), pixels, residual.bytes().data(),
                                   want.bytes().data());
              // s8 operands are shifted through the offset, whose rounding may cross a tie.
              const bool exact = spec.from == DType::kU8 && (!has_residual || type(2) == DType::kU8);
              for (int64_t i = 0; i < want.count(); ++i)
                ASSERT_LE(std::abs(ValueAt(spec.to, got, i) - ValueAt(spec.to, want, i)), exact ? 0 : 1)
                    << i << " of " << ShapeText(shape) << " depth " << depth << " types " << types;
            }
}

TEST(PointwiseTest, FusedOperationsAndRealResultsAreThoseOfTheReference) {
  if (DetectIsa() < Isa::kAvx512Vnni) GTEST_SKIP() << "no AVX-512 VNNI";
  using Kind = PostOp::Kind;
  std::mt19937 random(1);
  constexpr int64_t kPixels = 13, kDepth = 24;
  for (const int64_t channels : {17, 48, 64, 100})
    for (const DType to : {DType::kU8, DType::kF32})
      for (const std::vector<PostOp>& post_ops : std::vector<std::vector<PostOp>>{
               {}, {{Kind::kHardSwish}, {Kind::kLinear, 0.3f, -0.1f}}, {{Kind::kSwish, 1.0f}}}) {
        PointwiseSpec spec{.depth = kDepth, .channels = channels, .to = to};
        spec.fused = {.post_ops = post_ops, .zero_point = 30};
        for (int64_t i = 0; i < channels * kDepth; ++i) spec.weights.push_back(static_cast<int8_t>(random()));
        for (int64_t c = 0; c < channels; ++c) {
          spec.factor.push_back(static_cast<float>(random() % 1000 + 1) * 1e-7f);
          spec.offset.push_back(static_cast<float>(random() % 7) - 3.0f);
          spec.fused.factor.push_back(10.0f + static_cast<float>(c));
        }
        Tensor in(DType::kU8, {kPixels, kDepth}), got(to, {kPixels, channels}), want(to, {kPixels, channels});
        for (uint8_t& byte : in.As<uint8_t>()) byte = static_cast<uint8_t>(random());
        const auto packed = std::make_shared<const AlignedBuffer>(Pointwise::Pack(spec));
        Pointwise(spec, packed).Run(in.bytes().data(), kPixels, nullptr, got.bytes().data());
        reference::Pointwise(spec, in.bytes().data(), kPixels, nullptr, want.bytes().data());
        for (int64_t i = 0; i < want.count(); ++i)
          if (to == DType::kF32)
            ASSERT_NEAR(got.As<float>()[i], want.As<float>()[i], 1e-5f * (1 + std::abs(want.As<float>()[i])))
                << i;
          else
            ASSERT_LE(std::abs(ValueAt(to, got, i) - ValueAt(to, want, i)), post_ops.empty() ? 0 : 1) << i;
      }
}

}  // namespace
}  // namespace hachi
