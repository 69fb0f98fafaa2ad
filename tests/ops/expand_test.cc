#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(ExpandTest, Agrees) {
  for (const char* type : {"f32", "s64", "u8", "bool"})
    for (const char* x : {"[1,1,1,7]", "[2,1,3,1]", "[7]", "[]", "[2,5,3,7]", "[5,1,7]"})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input x: ", type, x,
                                 " const s: s64[4] = 2 5 3 7\n n: Expand(x, s) -> y: ", type, "[2,5,3,7] }"),
           .low = 0,
           .high = 1,
           .tolerance = 0,
           .tie_share = 1,
           .kernel = "hachi_copy"}))
          << type << x;
}

TEST(ExpandTest, ShapesBroadcastWithTheInputs) {
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[N,1,4] input z: f32[N,6,1]\n s: Shape(z) -> d: s64[?]\n n: Expand(x, d) "
          "-> y: f32[?] }"),
      IsOkAndHolds("y: f32[N,6,4]"));
  EXPECT_THAT(InferText("graph g { input x: f32[2] const s: s64[1] = -1\n n: Expand(x, s) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("no negative dimension")));
}

}  // namespace
}  // namespace hachi
