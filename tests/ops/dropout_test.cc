#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(DropoutTest, LetsEverythingThrough) {
  EXPECT_OK(RunOpCase({.graph = "graph g { input x: f32[2,17] const r: f32[] = 0.5\n d: Dropout(x, r) -> y: "
                                "f32[2,17] }",
                       .tolerance = 0,
                       .kernel = "view"}));
}

TEST(DropoutTest, TheMaskIsAllOnes) {
  const auto result =
      RunReferences("graph g { const x: f32[3] = 1 2 3\n d: Dropout(x) -> y: f32[?], m: bool[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), testing::ElementsAre(1, 2, 3));
  EXPECT_THAT((*result)[1].As<bool>(), testing::Each(true));
}

TEST(DropoutTest, TrainingIsRefused) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[2] const r: f32[] = 0.5 const t: bool[] = 1\n d: Dropout(x, r, t) "
                "-> y: f32[?] }"),
      StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("training_mode is true")));
  EXPECT_THAT(
      InferText("graph g { input x: f32[2] const r: f32[] = 0.5 input t: bool[]\n d: Dropout(x, r, t) -> "
                "y: f32[?] }"),
      StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("training_mode is computed")));
}

}  // namespace
}  // namespace hachi
