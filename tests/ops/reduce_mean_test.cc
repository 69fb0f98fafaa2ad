#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(ReduceMeanTest, Fp32AgreesAlongAnyAxes) {
  for (const char* type : {"f32[2,17,5,9]", "f32[2,17,5,9] channels_last"})
    for (const char* axes : {"s64[1] = -1", "s64[1] = 0", "s64[1] = 1", "s64[2] = 2 3", "s64[2] = 0 2",
                             "s64[3] = 0 2 3", "s64[4] = 0 1 2 3"})
      for (const int keep : {0, 1})
        EXPECT_OK(
            RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, " const a: ", axes,
                                             "\n n: ReduceMean(x, a) {keepdims=", keep, "} -> y: f32[?] }"),
                       .tolerance = 2e-6}))
            << type << axes << keep;
}

TEST(ReduceMeanTest, WhatLiesTogetherDoesNotMove) {
  EXPECT_OK(RunOpCase(
      {.graph =
           "graph g { input x: f32[2,17,5,9] channels_last const a: s64[2] = 2 3\n n: ReduceMean(x, a) -> "
           "y: f32[2,17,1,1] channels_last }",
       .tolerance = 2e-6,
       .kernel = "hachi_reduce"}));
  EXPECT_OK(RunOpCase(
      {.graph =
           "graph g { input x: f32[4,300,128] const a: s64[1] = 1\n n: ReduceMean(x, a) {keepdims=0} -> y: "
           "f32[4,128] }",
       .tolerance = 2e-5,
       .kernel = "hachi_reduce",
       .threads = 2}));
}

TEST(ReduceMeanTest, NoAxesAreAllOrNone) {
  const auto infer = [](const char* inputs, const char* attrs) {
    return InferText(
        absl::StrCat("graph g { input x: f32[N,3]\n n: ReduceMean(", inputs, ") ", attrs, " -> y: f32[?] }"));
  };
  EXPECT_THAT(infer("x", ""), IsOkAndHolds("y: f32[1,1]"));
  EXPECT_THAT(infer("x", "{keepdims=0}"), IsOkAndHolds("y: f32[]"));
  EXPECT_THAT(infer("x", "{noop_with_empty_axes=1}"), IsOkAndHolds("y: f32[N,3]"));
}

TEST(ReduceMeanTest, IntegersAreExact) {
  const auto result = RunReferences(
      "graph g { const x: s64[2,3] = 1 2 4 4 5 6 const a: s64[1] = 1\n n: ReduceMean(x, a) {keepdims=0} -> "
      "y: s64[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<int64_t>(), testing::ElementsAre(2, 5));
}

}  // namespace
}  // namespace hachi
