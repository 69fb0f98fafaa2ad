#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(EqualTest, AgreesWithBroadcasting) {
  for (const char* type : {"f32", "s32", "s64"})
    for (const char* b : {"[2,16,4,5]", "[16,1,1]", "[]", "[4,1]"})
      for (const int threads : {1, 2})
        EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input a: ", type, "[2,16,4,5] input b: ", type,
                                                   b, "\n n: Equal(a, b) -> y: bool[2,16,4,5] }"),
                             .low = -3,
                             .high = 3,
                             .tie_share = 1,
                             .kernel = "hachi_compare",
                             .threads = threads}))
            << type << b;
}

TEST(EqualTest, NumbersBeyondADoublesDigitsDiffer) {
  const auto result = RunReferences(
      "graph g { const a: s64[3] = 9007199254740992 7 8 const b: s64[3] = 9007199254740993 7 5\n n: Equal(a, "
      "b) -> y: "
      "bool[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<bool>(), testing::ElementsAre(false, true, false));
}

TEST(EqualTest, DimensionsAreComparedWhereTheirSymbolsAllowIt) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,8,M] const b: s64[3] = -1 8 4\n s: Shape(x) -> d: s64[?]\n n: "
                "Equal(d, b) -> y: bool[?] }"),
      IsOkAndHolds("y: bool[3]"));
  EXPECT_THAT(InferText("graph g { input x: f32[N,8,M] const b: s64[1] = -1\n s: Shape(x) -> d: s64[?]\n n: "
                        "Equal(d, b) -> y: bool[?] }"),
              IsOkAndHolds("y: bool[3] = [0,0,0]"));
}

}  // namespace
}  // namespace hachi
