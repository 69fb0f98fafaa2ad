#include "engine/quant/repairs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "engine/quant/weights.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

constexpr int64_t kChannels = 8, kOutputs = 16, kRows = 500;

// Rows of channels, channel c being normal of that mean and deviation.
std::vector<float> Rows(const std::vector<float>& means, const std::vector<float>& deviations) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values;
  for (int64_t i = 0; i < kRows * kChannels; ++i)
    values.push_back(means[i % kChannels] + deviations[i % kChannels] * normal(random));
  return values;
}

TensorStats StatsOf(const std::vector<float>& rows) {
  TensorStats stats;
  stats.Observe(rows, {.channels = kChannels, .axis = ChannelAxis::kLast});
  return stats;
}

Tensor RandomWeights() {
  Tensor weights(DType::kF32, {kChannels, kOutputs});
  std::mt19937 random(2);
  for (float& w : weights.As<float>()) w = std::normal_distribution<float>()(random);
  return weights;
}

// The sum of squared errors of rows × weights, both rounded.
double ProductError(const std::vector<float>& rows, const Tensor& weights, const ActivationQuant& quant,
                    const std::vector<float>& factors) {
  Tensor divided = Tensor::Of<float>(weights.shape(), weights.As<float>());
  for (int64_t i = 0; i < divided.count(); ++i) divided.As<float>()[i] /= factors[i / kOutputs];
  const auto rounded = QuantizeWeights(divided.view(), 1, 8);
  double error = 0;
  for (int64_t row = 0; row < kRows; ++row)
    for (int64_t o = 0; o < kOutputs; ++o) {
      double right = 0, found = 0;
      for (int64_t c = 0; c < kChannels; ++c) {
        const float x = rows[row * kChannels + c], scale = quant.params.scale();
        const int32_t zero = quant.params.zero_point();
        const float q =
            quant.dtype == DType::kU8
                ? DequantizeValue(QuantizeValue<uint8_t>(x * factors[c], scale, zero), scale, zero)
                : DequantizeValue(QuantizeValue<int8_t>(x * factors[c], scale, zero), scale, zero);
        right += x * weights.As<float>()[c * kOutputs + o];
        found += q * rounded->values.As<int8_t>()[c * kOutputs + o] * rounded->params.scales[o];
      }
      error += (right - found) * (right - found);
    }
  return error;
}

TEST(EqualizationTest, AnOutlierChannelNoLongerCoarsensTheOthers) {
  const std::vector<float> rows = Rows(std::vector<float>(kChannels), {40, 1, 1, 1, 1, 1, 1, 1});
  const TensorStats stats = StatsOf(rows);
  const Tensor weights = RandomWeights();
  const auto whole = ChooseActivationQuant(stats, RangeMethod::kAuto);
  ASSERT_OK(whole);
  const ProductWeights readers[] = {{.values = weights.view(), .output_axis = 1}};
  const auto found = ChooseEqualization(stats, *whole, readers, true);
  ASSERT_TRUE(found.has_value());
  const double before = ProductError(rows, weights, *whole, std::vector<float>(kChannels, 1)),
               after = ProductError(rows, weights, found->quant, found->factors);
  EXPECT_LT(after, before / 4);
  EXPECT_NEAR(found->gain, 10 * std::log10(before / after), 4);
}

TEST(EqualizationTest, ChannelsThatAreAlikeStayAsTheyAre) {
  const TensorStats stats = StatsOf(Rows(std::vector<float>(kChannels), std::vector<float>(kChannels, 1)));
  const Tensor weights = RandomWeights();
  const auto whole = ChooseActivationQuant(stats, RangeMethod::kAuto);
  ASSERT_OK(whole);
  const ProductWeights readers[] = {{.values = weights.view(), .output_axis = 1}};
  EXPECT_FALSE(ChooseEqualization(stats, *whole, readers, true).has_value());
  EXPECT_FALSE(ChooseEqualization(TensorStats::OfRange(-1, 1), *whole, readers, true).has_value());
}

TEST(BiasCorrectionTest, ErrorsAreWhatConstantInputsGet) {
  const std::vector<float> means = {5, 1, 0, -2, 3, 1, 1, 1};
  const TensorStats stats = StatsOf(Rows(means, std::vector<float>(kChannels)));
  const Tensor weights = RandomWeights();
  const auto rounded = QuantizeWeights(weights.view(), 1, 8);
  ASSERT_OK(rounded);
  const MeanError found = FindMeanError({.values = weights.view(), .output_axis = 1}, rounded->values.view(),
                                        rounded->params.scales, ChannelMoments(stats, {}), 1e-6);
  EXPECT_GT(found.gain, 0);
  for (int64_t o = 0; o < kOutputs; ++o) {
    float right = 0, got = 0;
    for (int64_t c = 0; c < kChannels; ++c) {
      right += means[c] * weights.As<float>()[c * kOutputs + o];
      got += means[c] * static_cast<float>(rounded->values.As<int8_t>()[c * kOutputs + o]) *
             rounded->params.scales[o];
    }
    EXPECT_NEAR(found.errors[o], got - right, 1e-4);
  }
}

TEST(BiasCorrectionTest, GroupsReadTheirOwnChannels) {
  const Tensor weights = Tensor::Of<float>({2, 1, 1, 1}, std::vector<float>{1.25f, 1.25f});
  const Tensor rounded = Tensor::Of<int8_t>({2, 1, 1, 1}, std::vector<int8_t>{1, 1});
  TensorStats stats;
  stats.Observe(std::vector<float>{4, 8}, {.channels = 2});
  const float scales[] = {1};
  EXPECT_THAT(FindMeanError({.values = weights.view(), .output_axis = 0, .groups = 2}, rounded.view(), scales,
                            ChannelMoments(stats, {}), 0)
                  .errors,
              testing::ElementsAre(-1, -2));
}

}  // namespace
}  // namespace hachi
