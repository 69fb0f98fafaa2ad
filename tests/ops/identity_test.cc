#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(IdentityTest, CopiesEveryTypeInItsLayout) {
  for (const char* type :
       {"f32[2,17,3,3] channels_last", "u8[5,3] quant(0.1:7)", "s64[4]", "bool[3]", "f32[]"})
    EXPECT_OK(
        RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, "\n i: Identity(x) -> y: ", type, "}"),
                   .low = 0,
                   .high = 1,
                   .tolerance = 0,
                   .kernel = "view"}))
        << type;
}

TEST(IdentityTest, OutputHasTheInputsQuantizationAndContent) {
  EXPECT_THAT(InferText("graph g { input x: u8[N,3] quant(0.5:7)\n i: Identity(x) -> y: f32[?] }"),
              IsOkAndHolds("y: u8[N,3] quant(0.5:7)"));
  EXPECT_THAT(InferText("graph g { const x: s64[2] = 4 5\n i: Identity(x) -> y: s64[?] }"),
              IsOkAndHolds("y: s64[2] = [4,5]"));
}

TEST(IdentityTest, TwoInputsAreRefused) {
  EXPECT_THAT(InferText("graph g { input x: f32[2]\n i: Identity(x, x) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("2 inputs, expected 1")));
}

}  // namespace
}  // namespace hachi
