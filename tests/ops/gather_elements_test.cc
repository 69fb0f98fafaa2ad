#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::ElementsAre;

TEST(GatherElementsTest, PicksOneElementEach) {
  const auto result = RunReferences(
      "graph g { const x: f32[2,2] = 1 2 3 4 const i: s64[2,2] = 0 -2 1 0\n"
      " n: GatherElements(x, i) {axis=1} -> y: f32[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), ElementsAre(1, 1, 4, 3));
}

TEST(GatherElementsTest, AnIndexOutOfRangePicksNan) {
  const auto result = RunReferences(
      "graph g { const x: f32[2] = 1 2 const i: s64[2] = 5 1\n"
      " n: GatherElements(x, i) -> y: f32[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), ElementsAre(testing::IsNan(), 2));
}

TEST(GatherElementsTest, TuplesPickSlices) {
  const auto result = RunReferences(
      "graph g { const x: f32[2,2,2] = 0 1 2 3 4 5 6 7 const i: s64[2,1] = 1 0\n"
      " n: GatherND(x, i) {batch_dims=1} -> y: f32[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), ElementsAre(2, 3, 4, 5));
}

TEST(GatherElementsTest, UpdatesAreReducedAsAsked) {
  const auto scattered = [](const char* reduction) {
    auto result =
        RunReferences(absl::StrCat("graph g { const x: s32[3] = 1 2 3 const i: s64[2] = 1 -2 const u: s32[2] "
                                   "= 5 7\n n: ScatterElements(x, i, u) "
                                   "{reduction=\"",
                                   reduction, "\"} -> y: s32[?] }"));
    EXPECT_OK(result.status());
    return (*result)[0].As<int32_t>()[1];
  };
  EXPECT_EQ(scattered("none"), 7);
  EXPECT_EQ(scattered("add"), 14);
  EXPECT_EQ(scattered("mul"), 70);
  EXPECT_EQ(scattered("max"), 7);
  EXPECT_EQ(scattered("min"), 2);
}

TEST(GatherElementsTest, TuplesReplaceSlices) {
  const auto result = RunReferences(
      "graph g { const x: f32[3,2] = 0 0 0 0 0 0 const i: s64[2,1] = 2 9 const u: f32[2,2] = 1 2 3 4\n"
      " n: ScatterND(x, i, u) -> y: f32[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), ElementsAre(0, 0, 0, 0, 1, 2));
}

}  // namespace
}  // namespace hachi
