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

TEST(ConvTransposeTest, IntegersAgreeForEveryGeometryAndType) {
  for (const auto& [attrs, dims] :
       {std::pair("strides=[2,2]", "10,8"),
        std::pair("strides=[2,2],pads=[1,1,1,1],output_padding=[1,1]", "9,7"),
        std::pair("dilations=[2,2]", "7,6"), std::pair("strides=[2,2],auto_pad=\"SAME_UPPER\"", "10,8"),
        std::pair("strides=[2,2],output_shape=[9,7]", "9,7")})
    for (const char* source : {"u8", "s8"})
      for (const char* result : {"f32", "u8", "s8"}) {
        if (!SumsBytesExactly() && source == std::string_view("s8")) continue;
        const std::string quant = result == std::string_view("f32") ? "" : " quant(0.05:3)";
        EXPECT_OK(
            RunOpCase({.graph = absl::StrCat(
                           "graph g { input x: ", source,
                           "[2,8,5,4] channels_last quant(0.02:7) const w: s8[8,6,2,2] quant(axis=1,"
                           "0.01:0,0.02:0,0.03:0,0.01:0,0.02:0,0.03:0) = random 1 -63 63 const b: f32[6] = "
                           "random 2 -1 1\n n: ConvTranspose(x, w, b) {",
                           attrs, "} -> y: ", result, "[2,6,", dims, "] channels_last", quant, " }"),
                       .kernel = "onednn",
                       .reference_allocates = "it reads the weights' shape"}))
            << attrs << source << result;
      }
}

TEST(ConvTransposeTest, IntegersOfOneChannelAndOtherRanksAgree) {
  for (const char* graph :
       {"graph g { input x: u8[1,4,9] channels_last quant(0.1:0) const w: s8[4,3,4] quant(0.02:0) = random 1 "
        "-63 63\n"
        " n: ConvTranspose(x, w) {strides=[2]} -> y: f32[1,3,20] channels_last }",
        "graph g { input x: u8[1,16,6,5] channels_last quant(0.1:9) const w: s8[16,1,2,2] quant(0.02:0) = "
        "random 1 "
        "-63 63\n n: ConvTranspose(x, w) {strides=[2,2]} -> y: u8[1,1,12,10] channels_last quant(0.1:128) }",
        "graph g { input x: u8[1,3,4,5,6] channels_last quant(0.1:0) const w: s8[3,5,2,2,2] quant(0.02:0) = "
        "random 1 "
        "-63 63\n n: ConvTranspose(x, w) {strides=[2,2,2]} -> y: f32[1,5,8,10,12] channels_last }"})
    EXPECT_OK(
        RunOpCase({.graph = graph, .kernel = "onednn", .reference_allocates = "it reads the weights' shape"}))
        << graph;
}

TEST(ConvTransposeTest, FreeDimensionsGrow) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,8,H,W] const w: f32[8,6,2,2] = splat 0\n n: ConvTranspose(x, w) "
                "{strides=[2,2]} -> y: f32[?] }"),
      IsOkAndHolds("y: f32[N,6,2*H,2*W]"));
}

}  // namespace
}  // namespace hachi
