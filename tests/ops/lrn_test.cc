#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(LrnTest, AgreesInEveryLayout) {
  for (const char* layout : {"", " channels_last"})
    for (const int size : {1, 4, 5})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input x: f32[2,9,3,4]", layout, "\n n: LRN(x) {size=", size,
                                 ",alpha=0.5,beta=0.75,bias=2.0} -> y: f32[2,9,3,4]", layout, " }"),
           .tolerance = 1e-6,
           .kernel = "hachi_lrn",
           .threads = 2}))
          << layout << size;
}

TEST(LrnTest, TheWindowHasToHaveASize) {
  EXPECT_THAT(InferText("graph g { input x: f32[2,9]\n n: LRN(x) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("size is 0, expected 1 to")));
}

}  // namespace
}  // namespace hachi
