#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::ElementsAre;

// Every output of the operator on that constant, one behind the other.
std::vector<std::vector<double>> Outputs(std::string_view x, std::string_view attrs) {
  const auto outputs =
      RunReferences(absl::StrCat("graph g { const x: ", std::string(x), "\n n: Unique(x) {",
                                 std::string(attrs), "} -> y: f32[?], f: s64[?], i: s64[?], c: s64[?] }"));
  EXPECT_OK(outputs.status());
  std::vector<std::vector<double>> numbers;
  for (const Tensor& output : *outputs)
    VisitDType(output.dtype(), [&](auto zero) {
      const auto elements = output.As<decltype(zero)>();
      numbers.emplace_back(elements.begin(), elements.end());
    });
  return numbers;
}

TEST(UniqueTest, ElementsInOrderOrAsTheyAppear) {
  EXPECT_THAT(Outputs("f32[5] = 2 1 1 3 2", ""),
              ElementsAre(ElementsAre(1, 2, 3), ElementsAre(1, 0, 3), ElementsAre(1, 0, 0, 2, 1),
                          ElementsAre(2, 2, 1)));
  EXPECT_THAT(Outputs("f32[5] = 2 1 1 3 2", "sorted=0"),
              ElementsAre(ElementsAre(2, 1, 3), ElementsAre(0, 1, 3), ElementsAre(0, 1, 1, 2, 0),
                          ElementsAre(2, 2, 1)));
}

TEST(UniqueTest, SlicesAlongAnAxis) {
  EXPECT_THAT(
      Outputs("f32[2,3] = 4 1 4 5 0 5", "axis=1"),
      ElementsAre(ElementsAre(1, 4, 0, 5), ElementsAre(1, 0), ElementsAre(1, 0, 1), ElementsAre(1, 2)));
}

TEST(UniqueTest, NotANumberEqualsItselfAndComesLast) {
  EXPECT_THAT(Outputs("f32[3] = nan 1 nan", "")[3], ElementsAre(1, 2));
}

}  // namespace
}  // namespace hachi
