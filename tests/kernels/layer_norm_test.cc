#include "engine/kernels/layer_norm.h"

#include <cmath>

#include "engine/kernels/reference.h"
#include "tests/kernels/kernel_test_util.h"

namespace hachi {
namespace {

LayerNormSpec RandomSpec(int64_t length, DType from, DType to) {
  LayerNormSpec spec{.row_length = length, .from = from, .to = to};
  std::mt19937 random(static_cast<uint32_t>(length));
  std::uniform_real_distribution<float> scale(0.5f, 2.0f), bias(-0.5f, 0.5f);
  for (int64_t i = 0; i < length; ++i) {
    spec.scale.push_back(scale(random));
    spec.bias.push_back(bias(random));
  }
  spec.from_quant = QuantParams::PerTensor(0.037f, from == DType::kU8 ? 131 : -11);
  spec.to_quant = QuantParams::PerTensor(0.041f, to == DType::kU8 ? 117 : -3);
  return spec;
}

std::vector<std::byte> RandomRows(const LayerNormSpec& spec, int64_t rows, float mean) {
  const auto count = static_cast<size_t>(rows * spec.row_length);
  if (spec.from != DType::kF32) return RandomBytes(count);
  std::mt19937 random(2);
  std::normal_distribution<float> normal(mean, 3.0f);
  std::vector<std::byte> bytes(count * sizeof(float));
  for (size_t i = 0; i < count; ++i) {
    const float x = normal(random);
    std::memcpy(bytes.data() + i * sizeof(float), &x, sizeof(x));
  }
  return bytes;
}

TEST(LayerNormTest, AgreesWithTheReference) {
  OnEveryTarget([] {
    for (const int64_t length : {1, 2, 15, 16, 33, 128, 768, 1000})
      for (const int64_t rows : {1, 7, 64})
        for (const DType from : {DType::kF32, DType::kU8, DType::kS8})
          for (const DType to : {DType::kF32, DType::kU8, DType::kS8}) {
            const LayerNormSpec spec = RandomSpec(length, from, to);
            const auto in = RandomRows(spec, rows, 1.0f);
            const auto count = static_cast<size_t>(rows * length);
            std::vector<std::byte> out(count * SizeOf(to)), expected(out.size());
            LayerNorm(spec).Run(in.data(), rows, out.data());
            reference::LayerNorm(spec, in.data(), rows, expected.data());
            int64_t steps = 0;
            for (size_t i = 0; i < count; ++i) {
              if (to == DType::kF32) {
                float found, wanted;
                std::memcpy(&found, out.data() + 4 * i, 4);
                std::memcpy(&wanted, expected.data() + 4 * i, 4);
                // The largest normalised element of a row of n is at most sqrt(n).
                ASSERT_NEAR(found, wanted,
                            2e-6f * 2.5f * std::min(5.0f, std::sqrt(static_cast<float>(length)) + 1))
                    << length << " at " << i;
                continue;
              }
              const int step = static_cast<int>(out[i]) - static_cast<int>(expected[i]);
              ASSERT_TRUE(step == 0 || std::abs(step) == 1 || std::abs(step) == 255) << length << " at " << i;
              steps += step != 0;
            }
            // Results within 2e-6 of a tie may fall on either side; of a row without deviation, none may.
            ASSERT_LE(steps, 1 + static_cast<int64_t>(count) / 1000) << length;
          }
  });
}

TEST(LayerNormTest, LargeMeanCostsFewDigits) {
  OnEveryTarget([] {
    const LayerNormSpec spec = RandomSpec(768, DType::kF32, DType::kF32);
    const auto in = RandomRows(spec, 4, 1000.0f);
    std::vector<float> out(4 * 768), expected(out.size());
    LayerNorm(spec).Run(in.data(), 4, reinterpret_cast<std::byte*>(out.data()));
    reference::LayerNorm(spec, in.data(), 4, reinterpret_cast<std::byte*>(expected.data()));
    // The mean's own rounding, 6e-5 of a thousand, over a deviation of 3.
    for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], 1e-4f);
  });
}

TEST(LayerNormTest, RowsAnswerIsTheSameInAnyBatchAndTeam) {
  const LayerNormSpec spec = RandomSpec(77, DType::kF32, DType::kU8);
  const auto in = RandomRows(spec, 500, 0.0f);
  std::vector<std::byte> batch(500 * 77), alone(77);
  SetTeam(3);
  LayerNorm(spec).Run(in.data(), 500, batch.data());
  SetTeam(1);
  for (size_t row = 0; row < 500; ++row) {
    LayerNorm(spec).Run(in.data() + row * 77 * sizeof(float), 1, alone.data());
    ExpectSame(alone, std::vector(batch.begin() + static_cast<std::ptrdiff_t>(row * 77),
                                  batch.begin() + static_cast<std::ptrdiff_t>(row * 77 + 77)));
  }
}

TEST(LayerNormTest, InPlaceIsFine) {
  const LayerNormSpec spec = RandomSpec(21, DType::kF32, DType::kF32);
  auto in = RandomRows(spec, 3, 0.0f);
  std::vector<std::byte> out(in.size());
  LayerNorm(spec).Run(in.data(), 3, out.data());
  LayerNorm(spec).Run(in.data(), 3, in.data());
  ExpectSame(in, out);
}

}  // namespace
}  // namespace hachi
