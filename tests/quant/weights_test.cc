#include "engine/quant/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

Tensor RandomTensor(Shape shape) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 1);
  Tensor tensor(DType::kF32, std::move(shape));
  for (float& value : tensor.As<float>()) value = normal(random);
  return tensor;
}

// Which channel flat index `i` belongs to.
size_t ChannelOf(const Shape& shape, int axis, size_t i) {
  size_t inner = 1;
  for (size_t d = static_cast<size_t>(axis) + 1; d < shape.size(); ++d)
    inner *= static_cast<size_t>(shape[d]);
  return i / inner % static_cast<size_t>(shape[static_cast<size_t>(axis)]);
}

TEST(WeightsTest, EveryWeightIsTheNearestIntegerOfItsChannel) {
  for (const Shape& shape : {Shape{5, 3, 3, 3}, Shape{7, 4}, Shape{2, 3, 4}}) {
    for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis) {
      for (const int bits : {8, 7}) {
        SCOPED_TRACE(testing::Message() << ShapeText(shape) << " axis " << axis << " bits " << bits);
        const Tensor weights = RandomTensor(shape);
        const auto quantized = QuantizeWeights(weights.view(), axis, bits);
        ASSERT_OK(quantized);
        EXPECT_EQ(quantized->values.shape(), shape);
        EXPECT_EQ(quantized->params.axis, axis);
        ASSERT_EQ(quantized->params.scales.size(), static_cast<size_t>(shape[static_cast<size_t>(axis)]));
        EXPECT_EQ(quantized->params.zero_points, std::vector<int32_t>(quantized->params.scales.size(), 0));
        for (size_t i = 0; i < static_cast<size_t>(weights.count()); ++i) {
          const size_t c = ChannelOf(shape, axis, i);
          const float scale = quantized->params.scales[c];
          const bool full = quantized->channel_bits[c] == 8;
          const float exact = std::nearbyint(weights.As<float>()[i] / scale);
          EXPECT_EQ(quantized->values.As<int8_t>()[i], exact);
          EXPECT_GE(exact, full ? -127 : -64);
          EXPECT_LE(exact, full ? 127 : 63);
        }
      }
    }
  }
}

TEST(WeightsTest, LargestWeightUsesTheWholeRange) {
  const Tensor weights = Tensor::Of<float>({2, 2}, {0.5f, -1.27f, 63, 1});
  const auto full = QuantizeWeights(weights.view(), /*channel_axis=*/0, /*bits=*/8);
  ASSERT_OK(full);
  EXPECT_EQ(full->values.As<int8_t>()[1], -127);
  EXPECT_FLOAT_EQ(full->params.scales[0], 0.01f);
  EXPECT_EQ(full->values.As<int8_t>()[2], 127);
}

TEST(WeightsTest, SevenBitsOnlyWherePairSumsCouldSaturate) {
  // Magnitudes 127 and 1 add up to 128; 127 and 2 to more.
  const Tensor weights = Tensor::Of<float>({3, 3}, {127, 1, -1, 127, 2, 0, -64, 63, 32});
  const auto quantized = QuantizeWeights(weights.view(), /*channel_axis=*/0, /*bits=*/7);
  ASSERT_OK(quantized);
  EXPECT_EQ(quantized->channel_bits, (std::vector<uint8_t>{8, 7, 7}));
  const auto values = quantized->values.As<int8_t>();
  EXPECT_EQ(values[0], 127);
  EXPECT_EQ(values[3], 63);
  EXPECT_EQ(values[6], -64);
  EXPECT_EQ(values[7], 63);
  EXPECT_EQ(values[8], 32);
}

TEST(WeightsTest, NoPairSaturatesWithSevenBits) {
  const Tensor weights = RandomTensor({16, 100});
  for (const int axis : {0, 1}) {
    const auto quantized = QuantizeWeights(weights.view(), axis, /*bits=*/7);
    ASSERT_OK(quantized);
    const auto values = quantized->values.As<int8_t>();
    for (size_t i = 0; i < values.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (ChannelOf({16, 100}, axis, i) != ChannelOf({16, 100}, axis, j)) continue;
        ASSERT_LE(255 * (std::abs(values[i]) + std::abs(values[j])), std::numeric_limits<int16_t>::max());
      }
    }
  }
}

TEST(WeightsTest, ChannelOfZerosHasScaleOne) {
  const Tensor weights = Tensor::Of<float>({2, 2}, {0, -0.0f, 1e-40f, -1e-44f});
  const auto quantized = QuantizeWeights(weights.view(), /*channel_axis=*/0, /*bits=*/7);
  ASSERT_OK(quantized);
  EXPECT_EQ(quantized->params.scales, (std::vector<float>{1, 1}));
  for (const int8_t value : quantized->values.As<int8_t>()) EXPECT_EQ(value, 0);
}

TEST(WeightsTest, WeightsThatAreNotFiniteOrAbsentAreRefused) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
    EXPECT_THAT(QuantizeWeights(Tensor::Of<float>({1, 2}, {1, bad}).view(), 0, 8),
                StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(QuantizeWeights(Tensor(DType::kF32, {4, 0}).view(), 0, 8),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace hachi
