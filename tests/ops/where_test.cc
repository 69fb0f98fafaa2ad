#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(WhereTest, AgreesWithBroadcasting) {
  for (const char* type : {"f32", "s64", "u8", "s16"})
    for (const char* condition : {"[2,3,4,20]", "[2,1,4,20]", "[20]", "[4,1]", "[]"})
      for (const char* b : {"[2,3,4,20]", "[]", "[3,1,1]"}) {
        EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input c: bool", condition, " input a: ", type,
                                                   "[2,3,4,20] input b: ", type, b,
                                                   "\n n: Where(c, a, b) -> y: ", type, "[2,3,4,20] }"),
                             .low = 0,
                             .high = 1,
                             .tolerance = 0,
                             .tie_share = 1,
                             .kernel = "hachi_where"}))
            << type << condition << b;
        EXPECT_OK(RunOpCase(
            {.graph = absl::StrCat("graph g { input c: bool", condition, " input a: ", type, b, " input b: ",
                                   type, "[2,3,4,20]\n n: Where(c, a, b) -> y: ", type, "[2,3,4,20] }"),
             .low = 0,
             .high = 1,
             .tolerance = 0,
             .tie_share = 1,
             .threads = 2}))
            << type << condition << b;
      }
}

TEST(WhereTest, DimensionsArePicked) {
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[N,8] const m: s64[2] = -1 8 const one: s64[2] = 1 1\n s: Shape(x) -> d: "
          "s64[?]\n e: Equal(d, m) -> c: bool[?]\n n: Where(c, one, d) -> y: s64[?] }"),
      IsOkAndHolds("y: s64[2] = [N,1]"));
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[N,8] const c: bool[2] = 1 0 const one: s64[2] = 1 1\n s: Shape(x) -> d: "
          "s64[?]\n n: Where(c, one, d) -> y: s64[?] }"),
      IsOkAndHolds("y: s64[2] = [1,8]"));
}

}  // namespace
}  // namespace hachi
