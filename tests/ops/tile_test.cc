#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

TEST(TileTest, AgreesInEveryLayout) {
  for (const char* layout : {"", " channels_last"})
    for (const auto& [repeats, dims] : {std::pair("1 1 1 1", "2,3,4,5"), std::pair("2 1 3 1", "4,3,12,5"),
                                        std::pair("1 2 1 2", "2,6,4,10")})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input x: f32[2,3,4,5]", layout, " const r: s64[4] = ", repeats,
                                 "\n n: Tile(x, r) -> y: f32[", dims, "]", layout, " }"),
           .tolerance = 0,
           .kernel = "hachi_mapped_copy"}))
          << layout << repeats;
}

TEST(TileTest, RepeatsMayBeDimensions) {
  EXPECT_THAT(InferText("graph g { input x: f32[1,3] input like: f32[N,2]\n s: Shape(like) -> r: s64[?]\n"
                        " n: Tile(x, r) -> y: f32[?] }"),
              IsOkAndHolds("y: f32[N,6]"));
}

TEST(TileTest, RepeatsHaveToFitTheRank) {
  EXPECT_THAT(InferText("graph g { input x: f32[1,3] const r: s64[1] = 2\n n: Tile(x, r) -> y: f32[?] }"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("1 repeats, expected 2")));
}

}  // namespace
}  // namespace hachi
