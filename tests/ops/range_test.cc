#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::ElementsAre;

TEST(RangeTest, CountsFromDimensions) {
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[N,L] const z: s64[] = 0 const o: s64[] = 1\n s: Shape(x) -> d: s64[?]\n"
          " t: Gather(d, o) -> l: s64[?]\n n: Range(z, l, o) -> y: s64[?] }"),
      IsOkAndHolds("y: s64[L]"));
}

TEST(RangeTest, CountsFromDimensionsInRealNumbers) {
  EXPECT_THAT(InferText("graph g { input x: f32[N,L] const z: f32[] = 0 const o: f32[] = 1 const i: s64[] = "
                        "1\n s: Shape(x) -> d: s64[?]\n"
                        " t: Gather(d, i) -> l: s64[?]\n c: Cast(l) {to=1} -> f: f32[?]\n n: Range(z, f, o) "
                        "-> y: f32[?] }"),
              IsOkAndHolds("y: f32[L]"));
}

TEST(RangeTest, CountsDownAndInRealNumbers) {
  const auto down = RunReferences(
      "graph g { const a: s32[] = 10 const b: s32[] = 6 const c: s32[] = -3\n n: Range(a, b, c) -> y: s32[?] "
      "}");
  ASSERT_OK(down.status());
  EXPECT_THAT((*down)[0].As<int32_t>(), ElementsAre(10, 7));
  const auto real = RunReferences(
      "graph g { const a: f32[] = 1 const b: f32[] = 2.2 const c: f32[] = 0.5\n n: Range(a, b, c) -> y: "
      "f32[?] }");
  ASSERT_OK(real.status());
  EXPECT_THAT((*real)[0].As<float>(), ElementsAre(1, 1.5f, 2));
}

TEST(RangeTest, EveryTypeAgrees) {
  for (const char* type : {"f32", "s32", "s64", "s16"})
    EXPECT_OK(RunOpCase(
        {.graph = absl::StrCat("graph g { const a: ", type, "[] = 3 const b: ", type,
                               "[] = 50 const c: ", type, "[] = 2\n n: Range(a, b, c) -> y: ", type, "[?] }"),
         .tolerance = 0,
         .tie_share = 1,
         .kernel = "hachi_range"}))
        << type;
}

TEST(RangeTest, OneHotPutsTheDepthWhereTheAxisSays) {
  const auto result = RunReferences(
      "graph g { const i: s64[2] = 1 -3 const d: s64[] = 3 const v: f32[2] = 0 5\n"
      " n: OneHot(i, d, v) {axis=0} -> y: f32[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), ElementsAre(0, 5, 5, 0, 0, 0));
}

TEST(RangeTest, TrianglesAreKept) {
  const auto triangle = [](int upper) {
    auto result = RunReferences(absl::StrCat(
        "graph g { const x: s64[2,2] = 1 2 3 4\n n: Trilu(x) {upper=", upper, "} -> y: s64[?] }"));
    EXPECT_OK(result.status());
    const auto elements = (*result)[0].As<int64_t>();
    return std::vector<int64_t>(elements.begin(), elements.end());
  };
  EXPECT_THAT(triangle(1), ElementsAre(1, 2, 0, 4));
  EXPECT_THAT(triangle(0), ElementsAre(1, 0, 3, 4));
}

TEST(OneHotTest, KernelAgreesAndIndicesOutOfRangeAreOff) {
  for (const char* type : {"s64", "s32"})
    for (const int axis : {-1, 0, 1})
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input i: ", type,
                                                 "[4,3] const d: s64[] = 5 const v: f32[2] = 2 7\n"
                                                 " n: OneHot(i, d, v) {axis=",
                                                 axis, "} -> y: f32[?] }"),
                           .low = -7,
                           .high = 7,
                           .tolerance = 0,
                           .kernel = "hachi_one_hot"}))
          << type << axis;
}

TEST(TriluTest, KernelKeepsEitherSideOfAnyDiagonal) {
  for (const int upper : {0, 1})
    for (const int k : {-9, -1, 0, 2, 9})
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: f32[2,5,7] const k: s64[] = ", k,
                                                 "\n n: Trilu(x, k) {upper=", upper, "} -> y: f32[?] }"),
                           .tolerance = 0,
                           .kernel = "hachi_trilu",
                           .threads = 2}))
          << upper << k;
}

}  // namespace
}  // namespace hachi
