#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(SoftmaxTest, AgreesAlongEveryAxis) {
  for (const char* shape : {"[1]", "[17]", "[1,10]", "[3,1000]", "[2,17,5]", "[2,16,4,4]"})
    for (const char* layout : {"", " channels_last"})
      for (const int axis : {-1, 0}) {
        const std::string type = absl::StrCat("f32", shape, layout);
        EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: ", type,
                                                   "\n s: Softmax(x) {axis=", axis, "} -> y: ", type, "}"),
                             .low = -30,
                             .high = 30,
                             .tolerance = 1e-6}))
            << type << axis;
      }
}

TEST(SoftmaxTest, ChannelsLastNeedsNoPermutation) {
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input x: f32[2,17,3,3] channels_last\n s: Softmax(x) {axis=1} -> y: "
                          "f32[2,17,3,3] channels_last }",
                 .tolerance = 1e-6,
                 .kernel = "hachi_softmax"}));
}

TEST(SoftmaxTest, MatrixFormTakesAllAxesFromOneOnTogether) {
  for (const char* layout : {"", " channels_last"})
    for (const int axis : {-2, 0, 1, 3}) {
      const std::string type = absl::StrCat("f32[2,17,5,3]", layout);
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, "\n s: Softmax(x) {axis=", axis,
                                                 ",matrix=1} -> y: ", type, "}"),
                           .low = -30,
                           .high = 30,
                           .tolerance = 1e-6}))
          << layout << axis;
    }
  const auto result = RunReferences(
      "graph g { const x: f32[1,2,2] = 1 1 1 1\n s: Softmax(x) {axis=1,matrix=1} -> y: f32[1,2,2] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), testing::Each(0.25f));
}

TEST(SoftmaxTest, AnAxisBeyondTheRankIsRefused) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[2,3]\n s: Softmax(x) {axis=2} -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("axis is 2, expected -2 to 1")));
}

}  // namespace
}  // namespace hachi
