#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

struct Case {
  const char *x, *y, *attrs;
};
const Case kCases[] = {
    {"[1,1,4,4]", "[1,1,2,2]", "kernel_shape=[2,2], strides=[2,2]"},
    {"[2,17,9,7]", "[2,17,5,4]", "kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]"},
    {"[1,16,8,8]", "[1,16,8,7]", "kernel_shape=[3,2], pads=[0,0,2,0]"},
    {"[3,64,5,6]", "[3,64,3,3]", "kernel_shape=[3,3], strides=[2,2], auto_pad=\"SAME_UPPER\""},
    {"[3,64,5,6]", "[3,64,3,3]", "kernel_shape=[3,3], strides=[2,2], auto_pad=\"SAME_LOWER\""},
    {"[1,3,6,6]", "[1,3,3,3]", "kernel_shape=[3,3], strides=[2,2], ceil_mode=1"},
    {"[2,8,10]", "[2,8,4]", "kernel_shape=[3], strides=[2]"},
    {"[1,5,4,4,4]", "[1,5,2,2,2]", "kernel_shape=[2,2,2], strides=[2,2,2]"},
};
// Around the width of a vector, dilated, with more padding in front than a stride, in ranges for two threads.
const Case kBytes[] = {
    {"[2,63,9,11]", "[2,63,4,5]", "kernel_shape=[3,3], strides=[2,2]"},
    {"[2,65,9,11]", "[2,65,10,12]", "kernel_shape=[4,4], pads=[2,3,2,1]"},
    {"[1,130,12,12]", "[1,130,8,4]", "kernel_shape=[3,3], dilations=[2,4], strides=[1,1]"},
    {"[1,10,12,12]", "[1,10,14,10]", "kernel_shape=[2,3], dilations=[3,2], pads=[2,0,3,2]"},
    {"[8,40,40,40]", "[8,40,20,20]", "kernel_shape=[3,3], strides=[2,2], pads=[1,1,0,0]"},
};
const Case kChannels[] = {
    {"[1,1,1,1]", "[1,1,1,1]", ""}, {"[2,17,7,7]", "[2,17,1,1]", ""},   {"[1,64,5,3]", "[1,64,1,1]", ""},
    {"[3,16,9]", "[3,16,1]", ""},   {"[1,5,2,3,4]", "[1,5,1,1,1]", ""},
};

// A row of the family: its cases, the offer that FP32 takes, what 3 and -4 become.
struct Member {
  const char* op;
  std::span<const Case> cases;
  const char* kernel;
  float known;
};

std::string GraphOf(const char* op, const Case& c, std::string_view x, std::string_view y) {
  return absl::StrCat("graph g { input x: ", std::string(x.substr(0, x.find(' '))), c.x,
                      std::string(x.substr(x.find(' '))), "\n p: ", op, "(x) {", c.attrs,
                      "} -> y: ", std::string(y.substr(0, y.find(' '))), c.y,
                      std::string(y.substr(y.find(' '))), "}");
}

class PoolTest : public testing::TestWithParam<Member> {};

INSTANTIATE_TEST_SUITE_P(Members, PoolTest,
                         testing::Values(Member{"AveragePool", kCases, "onednn", -0.5f},
                                         Member{"GlobalAveragePool", kChannels, "onednn", -0.5f},
                                         Member{"GlobalLpPool", kChannels, "ref", 5},
                                         Member{"GlobalMaxPool", kChannels, "onednn", 3},
                                         Member{"LpPool", kCases, "ref", 5},
                                         Member{"MaxPool", kCases, "onednn", 3}),
                         [](const auto& member) { return member.param.op; });

TEST_P(PoolTest, Fp32AgreesInEitherLayout) {
  for (const Case& c : GetParam().cases)
    for (const char* type : {"f32 ", "f32 channels_last"})
      EXPECT_OK(RunOpCase({.graph = GraphOf(GetParam().op, c, type, type), .kernel = GetParam().kernel}))
          << c.x << c.attrs << type;
}

TEST_P(PoolTest, KnownValues) {
  const bool global = GetParam().cases.data() == kChannels;
  const auto result =
      RunReferences(absl::StrCat("graph g { const x: f32[1,1,2] = 3 -4\n p: ", GetParam().op, "(x) {",
                                 global ? "" : "kernel_shape=[2]", "} -> y: f32[?] }"));
  ASSERT_OK(result);
  EXPECT_THAT((*result)[0].As<float>(), ElementsAre(testing::FloatEq(GetParam().known)));
}

TEST_P(PoolTest, MatricesAreRefused) {
  EXPECT_THAT(InferText(absl::StrCat("graph g { input x: f32[2,3]\n p: ", GetParam().op,
                                     "(x) {kernel_shape=[2]} -> y: f32[?] }")),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("has rank 2, expected 3 to 5")));
}

TEST(MaxPoolTest, IntegersKeepTheirScaleExactly) {
  for (const char* type : {"u8 channels_last quant(0.1:7)", "s8 channels_last quant(0.1:7)"}) {
    const auto kernel = [](const Case& c) {
      return std::ranges::count(std::string_view(c.x), ',') < 4 ? "hachi_max_pool" : "onednn";
    };
    for (const Case& c : kCases)
      EXPECT_OK(RunOpCase({.graph = GraphOf("MaxPool", c, type, type), .tie_share = 1, .kernel = kernel(c)}))
          << type << c.x << c.attrs;
    for (const Case& c : kBytes)
      EXPECT_OK(RunOpCase(
          {.graph = GraphOf("MaxPool", c, type, type), .tie_share = 1, .kernel = kernel(c), .threads = 2}))
          << type << c.x << c.attrs;
    for (const Case& c : kChannels)
      EXPECT_OK(
          RunOpCase({.graph = GraphOf("GlobalMaxPool", c, type, type), .tie_share = 1, .kernel = kernel(c)}))
          << type << c.x;
  }
}

TEST(MaxPoolTest, SymbolicBatchIsKept) {
  EXPECT_THAT(InferText("graph g { input x: u8[N,3,9,H] quant(0.5:1)\n p: MaxPool(x) {kernel_shape=[3,3], "
                        "strides=[2,2]} -> y: u8[?] }"),
              IsOkAndHolds("y: u8[N,3,4,floor((H-3)/2)+1] quant(0.5:1)"));
}

TEST(MaxPoolTest, ContradictionsAreRefused) {
  EXPECT_THAT(InferText("graph g { input x: f32[1,3,9,9]\n p: MaxPool(x) -> y: f32[?] }"),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("'kernel_shape' has 0 entries, expected 2")));
  EXPECT_THAT(
      InferText("graph g { input x: f32[1,3,9,9]\n p: AveragePool(x) {kernel_shape=[2,2]} -> y: f32[?], "
                "i: s64[?] }"),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("2 outputs, expected 1")));
}

TEST(AveragePoolTest, PaddingMayCount) {
  for (const Case& c : kCases)
    for (const char* type : {"f32 ", "f32 channels_last"}) {
      const std::string attrs = absl::StrCat(c.attrs, ", count_include_pad=1");
      const bool beyond = attrs.find("ceil_mode") != std::string::npos;
      EXPECT_OK(RunOpCase({.graph = GraphOf("AveragePool", {c.x, c.y, attrs.c_str()}, type, type),
                           .kernel = beyond ? "ref" : "onednn"}))
          << c.x << attrs << type;
    }
}

TEST(AveragePoolTest, Int8AgreesWithAnyScalesAndZeroPoints) {
  for (const Case& c : kCases)
    for (const std::string x : {"u8 channels_last quant(0.0213:0)", "u8 channels_last quant(0.0213:119)",
                                "s8 channels_last quant(0.0213:0)"})
      for (const char* y : {" channels_last quant(0.0177:0)", " channels_last quant(0.0231:50)"})
        // One of the smallest case's four elements may be a tie.
        EXPECT_OK(RunOpCase({.graph = GraphOf("AveragePool", c, x, x.substr(0, 2) + y),
                             .tie_share = 0.96,
                             .kernel = "onednn"}))
            << x << y << c.attrs;
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
      "ceil_mode=1, count_include_pad=1} -> y: f32[?] }");
  ASSERT_OK(result);
  EXPECT_THAT((*result)[0].As<float>(), ElementsAre(3, 6));
}

TEST(AveragePoolTest, IntegersWithoutAScaleAreRefused) {
  EXPECT_THAT(InferText("graph g { input x: u8[1,3,9]\n p: AveragePool(x) {kernel_shape=[2]} -> y: f32[?] }"),
              StatusIs(StatusCode::kUnimplemented, HasSubstr("has type u8, expected f32")));
}

TEST(GlobalAveragePoolTest, Int8AgreesWithAnyScalesAndZeroPoints) {
  const Case c = {"[2,17,7,7]", "[2,17,1,1]", ""};
  for (const char* x :
       {"u8 channels_last quant(0.1:0)", "u8 channels_last quant(0.1:119)", "s8 channels_last quant(0.1:-5)"})
    for (const char* y : {"u8 channels_last quant(0.02:100)", "s8 quant(0.05:3)", "f32 channels_last"})
      EXPECT_OK(RunOpCase({.graph = GraphOf("GlobalAveragePool", c, x, y), .kernel = "hachi_average_pixels"}))
          << x << y;
}

TEST(LpPoolTest, PIsTheNorms) {
  const auto result = RunReferences(
      "graph g { const x: f32[1,1,3] = 2 -4 6\n p: LpPool(x) {kernel_shape=[2], p=1} -> y: f32[?] }");
  ASSERT_OK(result);
  EXPECT_THAT((*result)[0].As<float>(), ElementsAre(6, 10));
  EXPECT_THAT(
      InferText("graph g { input x: f32[1,1,3]\n p: LpPool(x) {kernel_shape=[2], p=0} -> y: f32[?] }"),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("p is 0, expected 1 or more")));
}

TEST(PoolTest, MaximaSayWhereTheyWere) {
  for (const auto& [order, places] :
       {std::pair(0, std::vector<int64_t>{5}), std::pair(1, std::vector<int64_t>{5})}) {
    const auto result = RunReferences(absl::StrCat(
        "graph g { const x: f32[1,1,2,3] = 1 2 3 4 5 6\n n: MaxPool(x) {kernel_shape=[2,3],storage_order=",
        order, "} -> y: f32[?], i: s64[?] }"));
    ASSERT_OK(result.status());
    EXPECT_THAT((*result)[0].As<float>(), testing::ElementsAre(6));
    EXPECT_THAT((*result)[1].As<int64_t>(), testing::ElementsAreArray(places));
  }
}

}  // namespace
}  // namespace hachi
