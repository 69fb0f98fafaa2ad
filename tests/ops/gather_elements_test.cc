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

TEST(GatherElementsTest, KernelsAgreeAndIndicesOutOfRangeDoNothing) {
  for (const char* nodes :
       {"input i: s64[4,3,6]\n n: GatherElements(x, i) {axis=0}",
        "input i: s32[4,5,9]\n n: GatherElements(x, i) {axis=2}",
        "input i: s64[4,2,2]\n n: GatherND(x, i) {batch_dims=1}", "input i: s32[7,2]\n n: GatherND(x, i)"})
    EXPECT_OK(RunOpCase(
        {.graph = absl::StrCat("graph g { const x: s32[4,5,6] = random 1 -9 9\n ", nodes, " -> y: s32[?] }"),
         .low = -6,
         .high = 5,
         .tie_share = 1,
         .threads = 2}))
        << nodes;
}

TEST(GatherElementsTest, ScatteringKernelsAgreeForEveryReduction) {
  for (const char* reduction : {"none", "add", "mul", "max", "min"})
    for (const char* nodes :
         {"input i: s64[3,4,6] input u: f32[3,4,6]\n n: ScatterElements(x, i, u) {axis=1,",
          "input i: s64[8,2] input u: f32[8,6]\n n: ScatterND(x, i, u) {"})
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { const x: f32[4,5,6] = random 1 -1 1\n ", nodes,
                                                 "reduction=\"", reduction, "\"} -> y: f32[?] }"),
                           .low = -6,
                           .high = 5,
                           .tolerance = 0}))
          << nodes << reduction;
}

}  // namespace
}  // namespace hachi
