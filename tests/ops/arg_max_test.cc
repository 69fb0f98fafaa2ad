#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

TEST(ArgMaxTest, AgreesAlongEveryAxis) {
  for (const char* op : {"ArgMax", "ArgMin"})
    for (const int axis : {0, 1, -1})
      for (const int keepdims : {0, 1})
        EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: f32[3,40,5]\n n: ", op, "(x) {axis=",
                                                   axis, ",keepdims=", keepdims, "} -> y: s64[?] }"),
                             .tie_share = 1,
                             .kernel = "hachi_arg",
                             .threads = 2,
                             .reference_allocates = "it sorts a lane's places"}))
            << op << axis;
}

TEST(ArgMaxTest, OfEqualOnesTheFirstOrTheLastIsTaken) {
  const auto found = [](const char* attrs) {
    auto result = RunReferences(
        absl::StrCat("graph g { const x: f32[4] = 1 3 3 2\n n: ArgMax(x) {", attrs, "} -> y: s64[?] }"));
    EXPECT_OK(result.status());
    return (*result)[0].As<int64_t>()[0];
  };
  EXPECT_EQ(found(""), 1);
  EXPECT_EQ(found("select_last_index=1"), 2);
}

TEST(ArgMaxTest, TheTopAreInOrder) {
  for (const int largest : {0, 1})
    EXPECT_OK(RunOpCase(
        {.graph = absl::StrCat(
             "graph g { input x: f32[3,50,4] const k: s64[1] = 7\n n: TopK(x, k) {axis=1,largest=", largest,
             "} -> v: f32[?], i: s64[?] }"),
         .tolerance = 0,
         .tie_share = 1,
         .kernel = "hachi_top_k",
         .reference_allocates = "it sorts a lane's places"}));
}

TEST(ArgMaxTest, KIsAtMostTheLane) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[3] const k: s64[1] = 4\n n: TopK(x, k) -> v: f32[?], i: s64[?] }"),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("k is 4, expected 0 to 3")));
}

}  // namespace
}  // namespace hachi
