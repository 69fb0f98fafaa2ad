#include "engine/kernels/softmax.h"

#include <cmath>

#include "engine/kernels/reference.h"
#include "tests/kernels/kernel_test_util.h"

namespace hachi {
namespace {

std::vector<float> RandomFloats(size_t count, float spread) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// x - max is rounded to 24 bits, which the exponential turns into a relative error of up to 2^-24 × |x -
// max|, at most 2^-24 × |log(result)|; Exp itself, the sum and the division take the constant part. 1e-37:
// subnormals.
void ExpectNear(const std::vector<float>& found, const std::vector<float>& expected) {
  for (size_t i = 0; i < found.size(); ++i) {
    const float relative = 1e-6f + 6e-8f * std::abs(std::log(expected[i] + 1e-37f));
    ASSERT_NEAR(found[i], expected[i], relative * expected[i] + 1e-37f) << "at " << i;
  }
}

TEST(SoftmaxTest, AgreesWithTheReference) {
  OnEveryTarget([] {
    for (const int64_t length : {1, 2, 3, 8, 9, 10, 15, 16, 17, 64, 128, 1000, 4096})
      for (const int64_t rows : {1, 7, 64})
        for (const float spread : {1.0f, 10.0f}) {
          const std::vector<float> in = RandomFloats(static_cast<size_t>(rows * length), spread);
          std::vector<float> expected(in.size()), out(in.size());
          reference::Softmax(in, length, expected);
          Softmax(in, length, out);
          ExpectNear(out, expected);
        }
  });
}

TEST(SoftmaxTest, RowsAnswerIsTheSameInAnyBatchAndTeamAndAtAnyAddress) {
  for (const int64_t length : {2, 7, 10, 37, 1000}) {
    const std::vector<float> in = RandomFloats(static_cast<size_t>(100 * length), 5.0f);
    std::vector<float> batch(in.size());
    SetTeam(3);
    Softmax(in, length, batch);
    SetTeam(1);
    for (int64_t row = 0; row < 100; ++row) {
      std::vector<float> alone(static_cast<size_t>(length) + 1);
      const auto at = static_cast<size_t>(row * length), n = static_cast<size_t>(length);
      Softmax(std::span(in).subspan(at, n), length, std::span(alone).subspan(1));
      ExpectSame<float>(std::span(alone).subspan(1), std::span(batch).subspan(at, n));
    }
  }
}

TEST(SoftmaxTest, LargeValuesDoNotOverflow) {
  const std::vector<float> in = {1e30f, 1e30f, -1e30f, -std::numeric_limits<float>::infinity()};
  std::vector<float> out(4);
  Softmax(in, 4, out);
  EXPECT_EQ(out, (std::vector<float>{0.5f, 0.5f, 0.0f, 0.0f}));
}

TEST(SoftmaxTest, NanSpoilsItsRowOnly) {
  OnEveryTarget([] {
    for (const size_t bad : {0, 5, 19}) {
      std::vector<float> in(40, 1.0f), out(40);
      in[bad] = std::numeric_limits<float>::quiet_NaN();
      Softmax(in, 20, out);
      for (size_t i = 0; i < 40; ++i) EXPECT_EQ(std::isnan(out[i]), i < 20) << i;
    }
  });
}

TEST(SoftmaxTest, InPlaceIsFine) {
  const std::vector<float> in = RandomFloats(3 * 21, 3.0f);
  std::vector<float> out(in.size()), in_place = in;
  Softmax(in, 21, out);
  Softmax(in_place, 21, in_place);
  EXPECT_EQ(in_place, out);
}

}  // namespace
}  // namespace hachi
