#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <typename T>
std::vector<T> Elements(const Tensor& tensor) {
  return {tensor.As<T>().begin(), tensor.As<T>().end()};
}

TEST(NonZeroTest, OfAConstantTheSizeIsKnown) {
  const auto y = RunReferences("graph g { const x: f32[2,2] = 1 0 nan 2\n n: NonZero(x) -> y: s64[?] }");
  ASSERT_OK(y);
  EXPECT_EQ((*y)[0].shape(), Shape({2, 3}));
  EXPECT_THAT(Elements<int64_t>((*y)[0]), ElementsAre(0, 1, 1, 0, 0, 1));
}

TEST(NonZeroTest, OfWhatIsComputedTheSizeShowsInARunUnlessTheNodeCounts) {
  EXPECT_THAT(InferText("graph g { input x: f32[2,N]\n n: NonZero(x) -> y: s64[?] }"),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("shows only in a run")));
  EXPECT_THAT(InferText("graph g { input x: f32[2,N]\n n: NonZero(x) {measured=1} -> y: s64[?], c: s64[?] }"),
              IsOkAndHolds(HasSubstr("y: s64[2,2*N]")));
}

TEST(NonZeroTest, WhatCountsFillsFromTheFront) {
  const auto y = RunReferences(
      "graph g { const x: s32[4] = 0 7 0 8\n n: NonZero(x) {measured=1} -> y: s64[?], c: s64[?] }");
  ASSERT_OK(y);
  EXPECT_THAT(Elements<int64_t>((*y)[0]), ElementsAre(1, 3, 0, 0));
  EXPECT_THAT(Elements<int64_t>((*y)[1]), ElementsAre(2));
}

TEST(CompressTest, KeepsSlicesAlongAnAxisOrElements) {
  const auto kept = [](const char* condition, const char* attrs) {
    const auto y =
        RunReferences(absl::StrCat("graph g { const x: f32[3,2] = 1 2 3 4 5 6 const c: ", condition,
                                   "\n n: Compress(x, c) {", attrs, "} -> y: f32[?] }"));
    EXPECT_OK(y);
    return Elements<float>((*y)[0]);
  };
  EXPECT_THAT(kept("bool[3] = 0 1 1", "axis=0"), ElementsAre(3, 4, 5, 6));
  EXPECT_THAT(kept("bool[2] = 0 1", "axis=-1"), ElementsAre(2, 4, 6));
  EXPECT_THAT(kept("bool[5] = 0 1 0 0 1", ""), ElementsAre(2, 5));
  EXPECT_THAT(kept("bool[1] = 1", "axis=0"), ElementsAre(1, 2));
}

TEST(CompressTest, AConstantConditionSaysTheSizeOfWhatIsComputed) {
  EXPECT_THAT(InferText("graph g { input x: f32[N,3] const c: bool[3] = 1 0 1\n"
                        " n: Compress(x, c) {axis=1} -> y: f32[?] }"),
              IsOkAndHolds("y: f32[N,2]"));
}

}  // namespace
}  // namespace hachi
