#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

struct Case {
  const char *x, *y, *attrs;
};
const Case kCases[] = {
    {"[1,1,4,4]", "[1,1,2,2]", "kernel_shape=[2,2], strides=[2,2]"},
    {"[2,17,9,7]", "[2,17,5,4]", "kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]"},
    {"[1,16,8,8]", "[1,16,8,7]", "kernel_shape=[3,2], pads=[0,0,2,0]"},
    {"[3,64,5,6]", "[3,64,3,3]", "kernel_shape=[3,3], strides=[2,2], auto_pad=\"SAME_UPPER\""},
    {"[1,3,6,6]", "[1,3,3,3]", "kernel_shape=[3,3], strides=[2,2], ceil_mode=1"},
    {"[2,8,10]", "[2,8,4]", "kernel_shape=[3], strides=[2]"},
    {"[1,5,4,4,4]", "[1,5,2,2,2]", "kernel_shape=[2,2,2], strides=[2,2,2]"},
};

TEST(AveragePoolTest, Fp32AgreesWithAndWithoutPaddingCounted) {
  for (const Case& c : kCases)
    for (const char* layout : {"", " channels_last"})
      for (const int counted : {0, 1}) {
        const bool beyond = counted && std::string_view(c.attrs).find("ceil_mode") != std::string_view::npos;
        EXPECT_OK(RunOpCase(
            {.graph = absl::StrCat("graph g { input x: f32", c.x, layout, "\n p: AveragePool(x) {", c.attrs,
                                   ", count_include_pad=", counted, "} -> y: f32", c.y, layout, "}"),
             .kernel = beyond ? "ref" : ""}))
            << c.x << c.attrs << counted;
      }
}

TEST(AveragePoolTest, Int8AgreesWithAnyScalesAndZeroPoints) {
  for (const Case& c : kCases)
    for (const char* x : {"u8 quant(0.0213:0)", "u8 quant(0.0213:119)", "s8 quant(0.0213:0)"})
      for (const char* y : {"quant(0.0177:0)", "quant(0.0231:50)"}) {
        const std::string type(x, 2);
        // One of the smallest case's four elements may be a tie.
        EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, c.x, " channels_last", x + 2,
                                                   "\n p: AveragePool(x) {", c.attrs, "} -> y: ", type, c.y,
                                                   " channels_last ", y, "}"),
                             .tie_share = 0.96}))
            << x << y << c.attrs;
      }
}

TEST(AveragePoolTest, PaddingCountsForZeroWhateverTheZeroPoint) {
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input x: u8[1,16,5,5] channels_last quant(0.1:100)\n p: AveragePool(x) "
                          "{kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1} -> y: u8[1,16,5,5] "
                          "channels_last quant(0.07:90) }",
                 .kernel = "ref"}));
}

TEST(AveragePoolTest, WhatCeilModeReadsBeyondThePaddingDoesNotCount) {
  const auto result = RunReferences(
      "graph g { const x: f32[1,1,3] = 2 4 6\n p: AveragePool(x) {kernel_shape=[2], strides=[2], "
      "ceil_mode=1, "
      "count_include_pad=1} -> y: f32[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), testing::ElementsAre(3, 6));
}

TEST(AveragePoolTest, IntegersWithoutAScaleAreRefused) {
  EXPECT_THAT(InferText("graph g { input x: u8[1,3,9]\n p: AveragePool(x) {kernel_shape=[2]} -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("has type u8, expected f32")));
}

}  // namespace
}  // namespace hachi
