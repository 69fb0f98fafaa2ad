#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(GroupNormalizationTest, AgreesInEveryLayout) {
  for (const char* layout : {"", " channels_last"})
    for (const int threads : {1, 2}) {
      const std::string ends =
          absl::StrCat("graph g { input x: f32[2,6,5,7]", layout,
                       " const s: f32[6] = random 1 -1 1 const b: f32[6] = random 2 -1 1\n n: ");
      const std::string y = absl::StrCat(" -> y: f32[2,6,5,7]", layout, " }");
      EXPECT_OK(RunOpCase({.graph = absl::StrCat(ends, "InstanceNormalization(x, s, b)", y),
                           .tolerance = 1e-5,
                           .kernel = "hachi_group_norm",
                           .threads = threads}));
      EXPECT_OK(RunOpCase({.graph = absl::StrCat(ends, "GroupNormalization(x, s, b) {num_groups=2}", y),
                           .tolerance = 1e-5,
                           .kernel = "hachi_group_norm",
                           .threads = threads}));
    }
}

TEST(GroupNormalizationTest, ScalesOfGroupsAreThoseOfOpset18) {
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input x: f32[2,6,5] const s: f32[2] = 2 3 const b: f32[2] = 1 0\n"
                          " n: GroupNormalization(x, s, b) {num_groups=2,scales_groups=1} -> y: f32[2,6,5] }",
                 .tolerance = 1e-5}));
}

TEST(GroupNormalizationTest, GroupsHaveToDivideTheChannels) {
  EXPECT_THAT(InferText("graph g { input x: f32[2,6,5] input s: f32[6]\n n: GroupNormalization(x, s, s) "
                        "{num_groups=4} -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       testing::HasSubstr("4 groups, expected a divisor of the 6 channels")));
}

}  // namespace
}  // namespace hachi
