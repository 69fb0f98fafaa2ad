#include "engine/kernels/combine.h"

#include <cmath>

#include "tests/kernels/kernel_test_util.h"

namespace hachi {
namespace {

struct Function {
  void (*kernel)(std::span<float> a, std::span<const float> b);
  float (*meaning)(float a, float b);
};

constexpr Function kFunctions[] = {
    {AddFloats, [](float a, float b) { return a + b; }},
    {SubtractFloats, [](float a, float b) { return a - b; }},
    {MultiplyFloats, [](float a, float b) { return a * b; }},
    {DivideFloats, [](float a, float b) { return a / b; }},
    {TakeLarger, [](float a, float b) { return a < b ? b : a; }},
    {TakeSmaller, [](float a, float b) { return b < a ? b : a; }},
    {ScaleNegatives, [](float a, float b) { return a < 0 ? a * b : a; }},
};

TEST(CombineTest, EachFunctionIsTheElementsOwn) {
  OnEveryTarget([] {
    for (const Function& function : kFunctions)
      for (const size_t count : {1, 7, 16, 33, 100}) {
        std::vector<float> a = TrickyFloats(count, 0.1f, 1), want = a;
        const std::vector<float> b = TrickyFloats(count, 0.1f, 2);
        for (size_t i = 0; i < count; ++i) want[i] = function.meaning(a[i], b[i]);
        function.kernel(a, b);
        for (size_t i = 0; i < count; ++i)
          ASSERT_TRUE(a[i] == want[i] || (std::isnan(a[i]) && std::isnan(want[i])))
              << &function - kFunctions << ": " << a[i] << " for " << want[i];
      }
  });
}

}  // namespace
}  // namespace hachi
