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
    {"[3,64,5,6]", "[3,64,3,3]", "kernel_shape=[3,3], strides=[2,2], auto_pad=\"SAME_LOWER\""},
    {"[1,3,6,6]", "[1,3,3,3]", "kernel_shape=[3,3], strides=[2,2], ceil_mode=1"},
    {"[2,8,10]", "[2,8,4]", "kernel_shape=[3], strides=[2]"},
    {"[1,5,4,4,4]", "[1,5,2,2,2]", "kernel_shape=[2,2,2], strides=[2,2,2]"},
};

TEST(MaxPoolTest, AgreesOnRealsAndIntegersInTheirLayout) {
  for (const Case& c : kCases)
    for (const char* type : {"f32", "u8", "s8"}) {
      const std::string quant = *type == 'f' ? "" : " quant(0.1:7)";
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, c.x, " channels_last", quant,
                                                 "\n p: MaxPool(x) {", c.attrs, "} -> y: ", type, c.y,
                                                 " channels_last", quant, "}"),
                           .tolerance = 0,
                           .tie_share = 1,
                           .kernel = "onednn"}))
          << type << c.x << c.attrs;
    }
}

TEST(MaxPoolTest, AgreesInRowMajorOrder) {
  for (const Case& c : kCases)
    EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: f32", c.x, "\n p: MaxPool(x) {", c.attrs,
                                               "} -> y: f32", c.y, "}"),
                         .tolerance = 0}))
        << c.x << c.attrs;
}

TEST(MaxPoolTest, SymbolicBatchIsKept) {
  EXPECT_THAT(InferText("graph g { input x: u8[N,3,9,H] quant(0.5:1)\n p: MaxPool(x) {kernel_shape=[3,3], "
                        "strides=[2,2]} -> y: f32[?] }"),
              IsOkAndHolds("y: u8[N,3,4,floor((H-3)/2)+1] quant(0.5:1)"));
}

TEST(MaxPoolTest, ContradictionsAreRefused) {
  using testing::HasSubstr;
  EXPECT_THAT(
      InferText("graph g { input x: f32[1,3,9,9]\n p: MaxPool(x) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'kernel_shape' has 0 entries, expected 2")));
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[1,3,9,9]\n p: MaxPool(x) {kernel_shape=[2,2]} -> y: f32[?], i: s64[?] "
          "}"),
      StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("output 1 (indices)")));
}

}  // namespace
}  // namespace hachi
