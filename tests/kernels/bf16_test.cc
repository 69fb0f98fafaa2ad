#include "engine/kernels/bf16.h"

#include "engine/tensor/half.h"
#include "tests/kernels/kernel_test_util.h"

namespace hachi {
namespace {

TEST(Bf16Test, BothWaysAgreeWithTheDefinition) {
  OnEveryTarget([] {
    for (const size_t count : {1, 15, 16, 17, 1000, 100'003}) {
      std::vector<float> in = TrickyFloats(count, 0.37f), wide(count);
      std::vector<uint16_t> narrow(count), expected;
      std::vector<float> expected_wide;
      for (const float x : in) {
        expected.push_back(Bf16OfFloat(x));
        expected_wide.push_back(FloatOfBf16(expected.back()));
      }
      ToBf16(in, narrow);
      ExpectSame<uint16_t>(narrow, expected);
      FromBf16(narrow, wide);
      for (size_t i = 0; i < count; ++i)
        EXPECT_TRUE(wide[i] == expected_wide[i] || (std::isnan(wide[i]) && std::isnan(expected_wide[i])));
    }
  });
}

}  // namespace
}  // namespace hachi
