#include "engine/kernels/unary.h"

#include <bit>
#include <cmath>

#include "engine/kernels/reference.h"
#include "tests/kernels/kernel_test_util.h"

namespace hachi {
namespace {

constexpr UnaryFunction kAll[] = {UnaryFunction::kAbs,  UnaryFunction::kCube,       UnaryFunction::kErf,
                                  UnaryFunction::kExp,  UnaryFunction::kLog,        UnaryFunction::kNeg,
                                  UnaryFunction::kSqrt, UnaryFunction::kReciprocal, UnaryFunction::kSquare};

// Every sign and exponent, evenly.
std::vector<float> NumbersOfEverySize(size_t count) {
  std::vector<float> values(count);
  std::mt19937 random(3);
  for (float& value : values) do
      value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    while (!std::isfinite(value));
  return values;
}

TEST(UnaryTest, KeepsItsErrorBound) {
  OnEveryTarget([] {
    std::vector<float> in = NumbersOfEverySize(500'003), out(in.size()), expected(in.size());
    for (size_t i = 0; i < in.size(); i += 2) in[i] = static_cast<float>(i % 40'000) / 2000.0f - 10.0f;
    for (const UnaryFunction function : kAll) {
      ApplyUnary(function, in, out);
      reference::ApplyUnary(function, in, expected);
      const bool exact = function != UnaryFunction::kCube && function != UnaryFunction::kErf &&
                         function != UnaryFunction::kExp && function != UnaryFunction::kLog;
      for (size_t i = 0; i < in.size(); ++i) {
        if (std::isnan(expected[i]) ? std::isnan(out[i]) : out[i] == expected[i]) continue;
        ASSERT_FALSE(exact) << static_cast<int>(function) << " of " << in[i] << ": " << out[i];
        const float magnitude =
            function == UnaryFunction::kLog ? std::max(1.0f, std::abs(expected[i])) : std::abs(expected[i]);
        // Results below 1e-37 are or come from subnormal numbers.
        ASSERT_LE(std::abs(out[i] - expected[i]), 5e-7f * magnitude + 1e-37f)
            << static_cast<int>(function) << " of " << in[i] << ": " << out[i] << ", expected "
            << expected[i];
      }
    }
  });
}

TEST(UnaryTest, EndsOfTheNumbersGoWhereTheLimitsAre) {
  OnEveryTarget([] {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const auto of = [](UnaryFunction function, float x) {
      float y = 0;
      ApplyUnary(function, {&x, 1}, {&y, 1});
      return y;
    };
    for (const UnaryFunction function : kAll)
      EXPECT_TRUE(std::isnan(of(function, std::numeric_limits<float>::quiet_NaN())))
          << static_cast<int>(function);
    EXPECT_EQ(of(UnaryFunction::kErf, kInfinity), 1.0f);
    EXPECT_EQ(of(UnaryFunction::kErf, -kInfinity), -1.0f);
    EXPECT_EQ(of(UnaryFunction::kErf, 4.0f), 1.0f);
    EXPECT_EQ(of(UnaryFunction::kExp, kInfinity), kInfinity);
    EXPECT_EQ(of(UnaryFunction::kExp, 100.0f), kInfinity);
    EXPECT_EQ(of(UnaryFunction::kExp, -kInfinity), 0.0f);
    EXPECT_EQ(of(UnaryFunction::kLog, 0.0f), -kInfinity);
    EXPECT_EQ(of(UnaryFunction::kLog, kInfinity), kInfinity);
    EXPECT_TRUE(std::isnan(of(UnaryFunction::kLog, -1.0f)));
    EXPECT_TRUE(std::isnan(of(UnaryFunction::kSqrt, -1.0f)));
    EXPECT_EQ(of(UnaryFunction::kReciprocal, 0.0f), kInfinity);
  });
}

TEST(HardSigmoidTest, AgreesWithTheReference) {
  OnEveryTarget([] {
    for (const size_t count : {1, 16, 99}) {
      std::vector<float> in(count), out(count), expected(count);
      for (size_t i = 0; i < count; ++i) in[i] = static_cast<float>(i) / 10.0f - 4.0f;
      HardSigmoid(in, 0.2f, 0.5f, out);
      reference::HardSigmoid(in, 0.2f, 0.5f, expected);
      for (size_t i = 0; i < count; ++i) EXPECT_NEAR(out[i], expected[i], 1e-7f) << in[i];
    }
  });
}

}  // namespace
}  // namespace hachi
