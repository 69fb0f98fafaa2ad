#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

TEST(SplitTest, PartsAgreeAlongEveryAxis) {
  for (const auto& [axis, dims] : {std::pair(0, "2,6,8,10"), std::pair(1, "4,3,8,10"),
                                   std::pair(2, "4,6,4,10"), std::pair(-1, "4,6,8,5")})
    for (const char* layout : {"", " channels_last"})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input x: f32[4,6,8,10]", layout, "\n n: Split(x) {axis=", axis,
                                 "} -> a: f32[", dims, "]", layout, ", b: f32[", dims, "]", layout, " }"),
           .tolerance = 0,
           .kernel = "hachi_copy"}))
          << axis << layout;
}

TEST(SplitTest, SizesMayDiffer) {
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input x: u8[2,7] const s: s64[3] = 1 4 2\n n: Split(x, s) {axis=1} -> a: u8[?], "
                "b: u8[?], c: u8[?] }",
       .kernel = "hachi_copy"}));
}

TEST(SplitTest, TheLastPartIsSmallerWhereTheyCannotBeEqual) {
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[7]\n n: Split(x) {num_outputs=3} -> a: f32[?], b: f32[?], c: f32[?] }"),
      IsOkAndHolds("a: f32[3], b: f32[3], c: f32[1]"));
}

TEST(SplitTest, SizesHaveToAddUp) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[7] const s: s64[2] = 3 3\n n: Split(x, s) -> a: f32[?], b: f32[?] }"),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("the sizes are [3,3], expected 2 that add up to 7")));
}

}  // namespace
}  // namespace hachi
