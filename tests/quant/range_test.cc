#include "engine/quant/range.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

constexpr RangeMethod kMethods[] = {RangeMethod::kAuto, RangeMethod::kMinMax, RangeMethod::kPercentile,
                                    RangeMethod::kEntropy, RangeMethod::kMse};

TensorStats StatsOf(const std::vector<float>& values) {
  TensorStats stats;
  stats.Observe(values, {.inner = static_cast<int64_t>(values.size())});
  return stats;
}

ActivationQuant Choose(const std::vector<float>& values, RangeMethod method) {
  const auto quant = ChooseActivationQuant(StatsOf(values), method);
  EXPECT_OK(quant);
  return *quant;
}

std::vector<float> Draw(size_t count, float (*draw)(std::mt19937& random)) {
  std::mt19937 random(6);
  std::vector<float> values(count);
  for (float& value : values) value = draw(random);
  return values;
}

float Normal(std::mt19937& random) { return std::normal_distribution<float>(0, 1)(random); }

// One in 20,000 is far out.
float WithOutliers(std::mt19937& random) { return Normal(random) * (random() % 20000 == 0 ? 10.0f : 1.0f); }

// The error of the grid, from the values themselves.
double MeasuredMse(const std::vector<float>& values, const ActivationQuant& quant) {
  double sum = 0;
  for (const float x : values) {
    const float scale = quant.params.scale();
    const int zero_point = quant.params.zero_point();
    const float back = quant.dtype == DType::kU8
                           ? DequantizeValue(QuantizeValue<uint8_t>(x, scale, zero_point), scale, zero_point)
                           : DequantizeValue(QuantizeValue<int8_t>(x, scale, zero_point), scale, zero_point);
    sum += std::pow(static_cast<double>(back) - x, 2);
  }
  return sum / static_cast<double>(values.size());
}

TEST(RangeTest, RangeWithoutCountsIsTakenWhole) {
  for (const RangeMethod method : kMethods) {
    const auto choose = [&](float min, float max) {
      const auto quant = ChooseActivationQuant(TensorStats::OfRange(min, max), method);
      EXPECT_OK(quant);
      EXPECT_EQ(quant->method, RangeMethod::kMinMax);
      return *quant;
    };
    EXPECT_EQ(choose(0, 2.55f).dtype, DType::kU8);
    EXPECT_FLOAT_EQ(choose(0, 2.55f).params.scale(), 0.01f);
    EXPECT_EQ(choose(1, 2.55f).params.zero_point(), 0);
    EXPECT_EQ(choose(-1.27f, 1.27f).dtype, DType::kS8);
    EXPECT_FLOAT_EQ(choose(-1.27f, 1.27f).params.scale(), 0.01f);
    EXPECT_EQ(choose(-0.55f, 2).dtype, DType::kU8);
    EXPECT_EQ(choose(-0.55f, 2).params.zero_point(), 55);
    EXPECT_EQ(choose(0, 0).params.scale(), 1);
    EXPECT_LT(choose(-0.55f, 2).mse, choose(-2, 2).mse);
  }
}

TEST(RangeTest, MinMaxReachesFromLeastToGreatest) {
  const ActivationQuant u8 = Choose({0, 1, 2.55f}, RangeMethod::kMinMax);
  EXPECT_EQ(u8.dtype, DType::kU8);
  EXPECT_EQ(u8.params.zero_point(), 0);
  EXPECT_FLOAT_EQ(u8.params.scale(), 0.01f);
  const ActivationQuant skewed =
      Choose(Draw(10000, [](auto& random) { return std::abs(Normal(random)) - 0.1f; }), RangeMethod::kMinMax);
  EXPECT_EQ(skewed.dtype, DType::kU8);
  EXPECT_GT(skewed.params.zero_point(), 0);
  const ActivationQuant negative = Choose({-2.55f, -1}, RangeMethod::kMinMax);
  EXPECT_EQ(negative.dtype, DType::kU8);
  EXPECT_EQ(negative.params.zero_point(), 255);
}

TEST(RangeTest, SymmetricTensorsAreS8WithZeroPointZero) {
  for (const RangeMethod method : kMethods) {
    const ActivationQuant quant = Choose(Draw(50000, Normal), method);
    EXPECT_EQ(quant.dtype, DType::kS8) << NameOf(method);
    EXPECT_EQ(quant.params.zero_point(), 0) << NameOf(method);
  }
}

TEST(RangeTest, MseIsThatOfTheValuesThemselves) {
  const std::vector<float (*)(std::mt19937&)> sources = {
      Normal, WithOutliers, [](auto& random) { return std::max(Normal(random), 0.0f); },
      [](auto& random) { return std::exp(Normal(random)) - 0.2f; },
      [](auto& random) { return Normal(random) - 3; }};
  for (const auto& source : sources) {
    const std::vector<float> values = Draw(40000, source);
    for (const RangeMethod method : kMethods) {
      const ActivationQuant quant = Choose(values, method);
      const double measured = MeasuredMse(values, quant);
      // Bins are 1/16 of a step and narrower: the histogram sees the error within a few percent.
      EXPECT_NEAR(quant.mse, measured, 0.05 * measured) << NameOf(method) << " " << quant.params.ToText();
    }
  }
}

TEST(RangeTest, AutoHasTheLeastErrorOfAllMethods) {
  for (const auto source : {Normal, WithOutliers}) {
    const std::vector<float> values = Draw(100000, source);
    const ActivationQuant best = Choose(values, RangeMethod::kAuto);
    EXPECT_NE(best.method, RangeMethod::kAuto);
    for (const RangeMethod method : kMethods)
      EXPECT_LE(MeasuredMse(values, best), 1.11 * MeasuredMse(values, Choose(values, method)))
          << NameOf(method);
  }
}

TEST(RangeTest, OutliersAreClippedByAllButMinMax) {
  const std::vector<float> values = Draw(100000, WithOutliers);
  const float whole = Choose(values, RangeMethod::kMinMax).params.scale();
  for (const RangeMethod method : {RangeMethod::kPercentile, RangeMethod::kEntropy})
    EXPECT_LT(Choose(values, method).params.scale(), 0.6f * whole) << NameOf(method);
  EXPECT_LT(Choose(values, RangeMethod::kMse).params.scale(), 0.9f * whole);
}

TEST(RangeTest, MseFindsTheBestClippingOfANormalDistribution) {
  // The least error of 8 bits over N(0, 1) is at 3.92 standard deviations (Banner et al., "Post training
  // 4-bit quantization of convolutional networks for rapid-deployment", table of optimal clipping values).
  const ActivationQuant quant = Choose(Draw(1000000, Normal), RangeMethod::kMse);
  EXPECT_NEAR(quant.params.scale() * 127.5f, 3.92f, 0.2f);
}

TEST(RangeTest, PercentileLeavesOneInTenThousandOutside) {
  std::vector<float> values =
      Draw(100000, [](auto& random) { return std::generate_canonical<float, 24>(random); });
  std::fill_n(values.begin(), 9, 1000.0f);
  EXPECT_NEAR(Choose(values, RangeMethod::kPercentile).params.scale() * 255, 1, 0.3);
  std::fill_n(values.begin(), 20, 1000.0f);
  EXPECT_FLOAT_EQ(Choose(values, RangeMethod::kPercentile).params.scale() * 255, 1000);
}

TEST(RangeTest, ZeroIsAlwaysExact) {
  for (const float center : {-5.0f, -0.3f, 0.0f, 0.2f, 7.0f}) {
    std::vector<float> values = Draw(5000, Normal);
    for (float& value : values) value += center;
    for (const RangeMethod method : kMethods) {
      const ActivationQuant quant = Choose(values, method);
      EXPECT_GE(quant.params.zero_point(), quant.dtype == DType::kU8 ? 0 : -128);
      EXPECT_LE(quant.params.zero_point(), quant.dtype == DType::kU8 ? 255 : 127);
      EXPECT_EQ(MeasuredMse({0.0f}, quant), 0);
    }
  }
}

TEST(RangeTest, DegenerateTensorsHaveSaneScales) {
  for (const RangeMethod method : kMethods) {
    for (const float constant : {0.0f, -0.0f, 1e-44f, -1e-44f, 1e-33f}) {
      const ActivationQuant quant = Choose({constant, constant}, method);
      EXPECT_EQ(quant.params.scale(), 1) << constant;
      EXPECT_EQ(quant.params.zero_point(), 0) << constant;
    }
    for (const float constant : {1.0f, -1.0f, 1e-20f, 3.4e38f, -3.4e38f}) {
      const ActivationQuant quant = Choose({constant}, method);
      EXPECT_TRUE(std::isfinite(quant.params.scale()) && quant.params.scale() > 0) << constant;
      EXPECT_LE(std::sqrt(MeasuredMse({constant}, quant)), 1e-6 * std::abs(constant)) << constant;
    }
    const ActivationQuant widest = Choose({-3.4e38f, 3.4e38f}, method);
    EXPECT_TRUE(std::isfinite(widest.params.scale()));
  }
}

TEST(RangeTest, TensorsWithoutFiniteValuesAreRefused) {
  EXPECT_THAT(ChooseActivationQuant(TensorStats(), RangeMethod::kAuto),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ChooseActivationQuant(StatsOf({1, NAN}), RangeMethod::kAuto),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(RangeTest, MethodsAreNamed) {
  for (const RangeMethod method : kMethods)
    EXPECT_THAT(ParseRangeMethod(NameOf(method)), IsOkAndHolds(method));
  EXPECT_THAT(ParseRangeMethod("max"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("'max'")));
}

}  // namespace
}  // namespace hachi
