#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::ElementsAre;

TEST(CumSumTest, EveryKindOfSumHasKnownAnswers) {
  const auto sums = [](const char* attrs) {
    auto result = RunReferences(
        absl::StrCat("graph g { const x: f32[4] = 1 2 3 4 const a: s64[] = 0\n n: CumSum(x, a) {", attrs,
                     "} -> y: f32[?] }"));
    EXPECT_OK(result.status());
    const auto elements = (*result)[0].As<float>();
    return std::vector<float>(elements.begin(), elements.end());
  };
  EXPECT_THAT(sums(""), ElementsAre(1, 3, 6, 10));
  EXPECT_THAT(sums("exclusive=1"), ElementsAre(0, 1, 3, 6));
  EXPECT_THAT(sums("reverse=1"), ElementsAre(10, 9, 7, 4));
  EXPECT_THAT(sums("reverse=1,exclusive=1"), ElementsAre(9, 7, 4, 0));
}

TEST(CumSumTest, KernelAgreesAlongEveryAxis) {
  for (const char* attrs : {"", "exclusive=1", "reverse=1", "reverse=1,exclusive=1"})
    for (const int axis : {0, 1, 2})
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: f32[3,5,70] const a: s64[] = ", axis,
                                                 "\n n: CumSum(x, a) {", attrs, "} -> y: f32[?] }"),
                           .tolerance = 1e-6,
                           .kernel = "hachi_cum_sum",
                           .threads = 2}))
          << attrs << axis;
}

}  // namespace
}  // namespace hachi
