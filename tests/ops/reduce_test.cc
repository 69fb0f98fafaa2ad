#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

struct Row {
  std::string name;
  std::vector<int64_t> integers;  // of the rows (1, 2, 4) and (-4, 5, 6); empty: refused
  std::vector<float> reals;       // of the same
  double tolerance = 2e-6;
  double low = -2;                             // of what it is tried on
  std::string_view kernel = "";                // "ref" where it has none
  std::string_view together = "hachi_reduce";  // where nothing has to move
};

class ReduceTest : public testing::TestWithParam<Row> {
 protected:
  static absl::StatusOr<std::vector<Tensor>> OfRows(std::string_view type) {
    return RunReferences(absl::StrCat("graph g { const x: ", std::string(type),
                                      "[2,3] = 1 2 4 -4 5 6 const a: s64[1] = 1\n n: ", GetParam().name,
                                      "(x, a) {keepdims=0} -> y: ", std::string(type), "[?] }"));
  }
};

TEST_P(ReduceTest, Fp32AgreesAlongAnyAxes) {
  for (const char* type : {"f32[2,17,5,9]", "f32[2,17,5,9] channels_last"})
    for (const char* axes : {"s64[1] = -1", "s64[1] = 0", "s64[1] = 1", "s64[2] = 2 3", "s64[2] = 0 2",
                             "s64[3] = 0 2 3", "s64[4] = 0 1 2 3"})
      for (const int keep : {0, 1})
        EXPECT_OK(RunOpCase(
            {.graph = absl::StrCat("graph g { input x: ", type, " const a: ", axes, "\n n: ", GetParam().name,
                                   "(x, a) {keepdims=", keep, "} -> y: f32[?] }"),
             .low = GetParam().low,
             .tolerance = GetParam().tolerance,
             .kernel = GetParam().kernel}))
            << type << axes << keep;
}

TEST_P(ReduceTest, WhatLiesTogetherDoesNotMove) {
  EXPECT_OK(RunOpCase(
      {.graph = absl::StrCat("graph g { input x: f32[2,17,5,9] channels_last const a: s64[2] = 2 3\n n: ",
                             GetParam().name, "(x, a) -> y: f32[2,17,1,1] channels_last }"),
       .low = GetParam().low,
       .tolerance = GetParam().tolerance,
       .kernel = GetParam().together}));
  EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: f32[4,300,128] const a: s64[1] = 1\n n: ",
                                             GetParam().name, "(x, a) {keepdims=0} -> y: f32[4,128] }"),
                       .low = GetParam().low,
                       .tolerance = 2e-5,
                       .kernel = GetParam().together,
                       .threads = 2}));
}

TEST_P(ReduceTest, HasTheKnownValues) {
  const auto result = OfRows("f32");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), testing::Pointwise(testing::FloatEq(), GetParam().reals));
}

TEST_P(ReduceTest, IntegersAreExactOrRefused) {
  const auto result = OfRows("s64");
  if (GetParam().integers.empty()) {
    EXPECT_THAT(result.status(),
                StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("has type s64, expected f32")));
    return;
  }
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<int64_t>(), testing::ElementsAreArray(GetParam().integers));
}

TEST_P(ReduceTest, NoAxesAreAllOrNone) {
  const auto infer = [](const char* attrs) {
    return InferText(
        absl::StrCat("graph g { input x: f32[N,3]\n n: ", GetParam().name, "(x) ", attrs, " -> y: f32[?] }"));
  };
  EXPECT_THAT(infer(""), IsOkAndHolds("y: f32[1,1]"));
  EXPECT_THAT(infer("{keepdims=0}"), IsOkAndHolds("y: f32[]"));
  EXPECT_THAT(infer("{noop_with_empty_axes=1}"), IsOkAndHolds("y: f32[N,3]"));
}

INSTANTIATE_TEST_SUITE_P(
    Members, ReduceTest,
    testing::Values(Row{"ReduceL1", {7, 15}, {7, 15}, 1e-5},
                    Row{"ReduceL2", {}, {4.5825757f, 8.7749644f}, 1e-5},
                    Row{"ReduceLogSum", {}, {1.9459101f, 1.9459101f}, 1e-5, 0.1},
                    Row{"ReduceLogSumExp", {}, {4.1698460f, 6.3132931f}, 0, -2, "ref", "ref"},
                    Row{"ReduceMax", {4, 6}, {4, 6}}, Row{"ReduceMean", {2, 2}, {7.0f / 3, 7.0f / 3}},
                    Row{"ReduceMin", {1, -4}, {1, -4}}, Row{"ReduceProd", {8, -120}, {8, -120}, 1e-5},
                    Row{"ReduceSum", {7, 7}, {7, 7}, 1e-5}, Row{"ReduceSumSquare", {21, 77}, {21, 77}, 1e-5}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace hachi
