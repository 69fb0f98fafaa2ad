#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(ResizeTest, EveryModeAgreesInEveryLayout) {
  for (const char* mode : {"nearest", "linear", "cubic"})
    for (const char* coordinates : {"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"})
      for (const char* layout : {"", " channels_last"})
        for (const auto& [scales, dims] : {std::pair("1 1 2 2", "12,16"), std::pair("1 1 0.5 1.5", "3,12")})
          EXPECT_OK(
              RunOpCase({.graph = absl::StrCat(
                             "graph g { input x: f32[2,5,6,8]", layout, " const s: f32[4] = ", scales,
                             "\n n: Resize(x, _, s) {mode=\"", mode, "\",coordinate_transformation_mode=\"",
                             coordinates, "\"} -> y: f32[2,5,", dims, "]", layout, " }"),
                         .tolerance = 1e-5,
                         .threads = 2,
                         .reference_allocates = "it lists the taps of each axis"}))
              << mode << coordinates << layout << scales;
}

TEST(ResizeTest, IntegersAgree) {
  for (const char* mode : {"nearest", "linear"})
    for (const char* type : {"u8", "s8"})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input x: ", type,
                                 "[2,40,6,8] channels_last quant(0.5:4) const s: "
                                 "f32[4] = 1 1 2 2\n n: Resize(x, _, s) {mode=\"",
                                 mode, "\"} -> y: ", type, "[2,40,12,16] channels_last quant(0.5:4) }"),
           .reference_allocates = "it lists the taps of each axis"}))
          << mode << type;
}

TEST(ResizeTest, AntialiasingWidensTheFilterWhereItShrinks) {
  EXPECT_OK(RunOpCase(
      {.graph =
           "graph g { input x: f32[1,2,12,12] channels_last const s: f32[4] = 1 1 0.25 0.5\n n: Resize(x, "
           "_, s) {mode=\"linear\",antialias=1} -> y: f32[1,2,3,6] channels_last }",
       .tolerance = 1e-5,
       .kernel = "hachi_interpolate",
       .reference_allocates = "it lists the taps of each axis"}));
}

TEST(ResizeTest, FreeDimensionsAreScaled) {
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[N,3,H,W] const s: f32[4] = 1 1 2 0.5\n n: Resize(x, _, s) -> y: f32[?] }"),
      IsOkAndHolds("y: f32[N,3,2*H,floor((W)/2)]"));
}

}  // namespace
}  // namespace hachi
