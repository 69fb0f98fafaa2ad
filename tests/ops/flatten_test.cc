#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(FlattenTest, KeepsRowMajorOrderWhateverTheLayout) {
  for (const char* x :
       {"f32[2,3,4,5]", "f32[2,17,4,5] channels_last", "u8[3,8,2,2] channels_last quant(0.5:1)"}) {
    const std::string type(x);
    EXPECT_OK(
        RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, "\n f: Flatten(x) -> y: ",
                                         type[0] == 'u' ? "u8[?] quant(0.5:1)" : "f32[?]", "}"),
                   .tolerance = 0,
                   .tie_share = 1,
                   .kernel = type.find("channels_last") == std::string::npos ? "view" : "hachi_permute"}))
        << x;
  }
}

TEST(FlattenTest, TheAxisDividesTheDimensions) {
  const auto infer = [](int axis) {
    return InferText(absl::StrCat("graph g { input x: u8[N,3,4,M] quant(0.5:1)\n f: Flatten(x) {axis=", axis,
                                  "} -> y: f32[?] }"));
  };
  EXPECT_THAT(infer(0), IsOkAndHolds("y: u8[1,12*M*N] quant(0.5:1)"));
  EXPECT_THAT(infer(1), IsOkAndHolds("y: u8[N,12*M] quant(0.5:1)"));
  EXPECT_THAT(infer(4), IsOkAndHolds("y: u8[12*M*N,1] quant(0.5:1)"));
  EXPECT_THAT(infer(-1), IsOkAndHolds("y: u8[12*N,M] quant(0.5:1)"));
  EXPECT_THAT(infer(5), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("axis is 5")));
}

}  // namespace
}  // namespace hachi
