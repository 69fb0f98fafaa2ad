#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "engine/ops/op.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(ReciprocalTest, Fp32AgreesInEveryLayout) {
  for (const char* type :
       {"f32[1]", "f32[2,17,5,3]", "f32[2,17,5,3] channels_last", "f32[33]", "f32[]", "f32[3,9000]"})
    EXPECT_OK(RunOpCase(
        {.graph = absl::StrCat("graph g { input x: ", type, "\n n: Reciprocal(x) -> y: ", type, "}"),
         .low = 0.01,
         .high = 9,
         .tolerance = 0,
         .kernel = "hachi_unary"}))
        << type;
}

TEST(ReciprocalTest, StaysFp32BetweenIntegers) {
  EXPECT_EQ(FindOp("Reciprocal")->quantize, QuantRule::kNone);
}

}  // namespace
}  // namespace hachi
