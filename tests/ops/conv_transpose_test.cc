#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(ConvTransposeTest, AgreesForEveryGeometry) {
  for (const auto& [attrs, dims] :
       {std::pair("", "7,6"), std::pair("strides=[2,2]", "11,9"),
        std::pair("strides=[2,2],pads=[1,1,1,1],output_padding=[1,1]", "10,8"),
        std::pair("dilations=[2,2]", "9,8"), std::pair("strides=[3,2],auto_pad=\"SAME_UPPER\"", "15,8"),
        std::pair("strides=[2,2],output_shape=[9,10]", "9,10")})
    for (const int threads : {1, 2})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat(
               "graph g { input x: f32[2,8,5,4] channels_last const w: f32[8,6,3,3] = random 1 -1 1 "
               "const b: f32[6] = random 2 -1 1\n n: ConvTranspose(x, w, b) {",
               attrs, "} -> y: f32[2,6,", dims, "] channels_last }"),
           .kernel = "onednn",
           .threads = threads,
           .reference_allocates = "it reads the weights' shape"}))
          << attrs;
}

TEST(ConvTransposeTest, GroupsAndOtherRanksAgree) {
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input x: f32[1,8,5,4] channels_last const w: f32[8,3,2,2] = random 1 -1 1\n"
                " n: ConvTranspose(x, w) {group=2,strides=[2,2]} -> y: f32[1,6,10,8] channels_last }",
       .reference_allocates = "it reads the weights' shape"}));
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input x: f32[1,4,9] channels_last const w: f32[4,3,4] = random 1 -1 1\n"
                          " n: ConvTranspose(x, w) {strides=[2]} -> y: f32[1,3,20] channels_last }",
                 .reference_allocates = "it reads the weights' shape"}));
}

TEST(ConvTransposeTest, FreeDimensionsGrow) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,8,H,W] const w: f32[8,6,2,2] = splat 0\n n: ConvTranspose(x, w) "
                "{strides=[2,2]} -> y: f32[?] }"),
      IsOkAndHolds("y: f32[N,6,2*H,2*W]"));
}

}  // namespace
}  // namespace hachi
