#include "engine/kernels/reduce.h"

#include <cmath>

#include "engine/kernels/reference.h"
#include "tests/kernels/kernel_test_util.h"

namespace hachi {
namespace {

TEST(ReduceTest, AgreesWithTheReference) {
  OnEveryTarget([] {
    std::mt19937 random(5);
    std::normal_distribution<float> normal(0.5f, 1.0f);
    for (const int64_t length : {1, 7, 49, 64, 1000})
      for (const int64_t inner : {1, 3, 16, 63, 130})
        for (const int64_t outer : {1, 5}) {
          std::vector<float> in(static_cast<size_t>(outer * length * inner));
          for (float& x : in) x = normal(random);
          for (const Reduction reduction :
               {Reduction::kSum, Reduction::kMean, Reduction::kMax, Reduction::kMin, Reduction::kProduct,
                Reduction::kSumOfMagnitudes, Reduction::kSumOfSquares}) {
            std::vector<float> out(static_cast<size_t>(outer * inner)), expected(out.size());
            Reduce(reduction, in, length, inner, out);
            reference::Reduce(reduction, in, length, inner, expected);
            // A sum of n numbers in floats is off by less than n/2 roundings of what their magnitudes add up
            // to, a product by n roundings of itself.
            const auto bound = [&](float want) {
              if (reduction == Reduction::kMax || reduction == Reduction::kMin) return 0.0f;
              if (reduction == Reduction::kMean) return 1e-6f;
              if (reduction == Reduction::kSum) return 1e-6f * static_cast<float>(length);
              if (reduction == Reduction::kProduct)
                return 1e-7f * static_cast<float>(length) * std::abs(want) + 1e-37f;
              return 4e-6f * want;
            };
            for (size_t i = 0; i < out.size(); ++i)
              ASSERT_LE(std::abs(out[i] - expected[i]), bound(expected[i]))
                  << length << " " << inner << " " << static_cast<int>(reduction);
          }
        }
  });
}

}  // namespace
}  // namespace hachi
