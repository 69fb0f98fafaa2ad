#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(MinTest, AnyNumberOfInputsBroadcast) {
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input a: f32[2,16,4,5] input b: f32[2,16,4,5]\n n: Min(a, b) -> y: "
                          "f32[2,16,4,5] }"}));
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input a: f32[5] input b: f32[2,16,1,5] input c: f32[4,1]\n n: Min(a, b, c) "
                "-> y: f32[2,16,4,5] }",
       .kernel = "hachi_broadcast"}));
}

TEST(MinTest, Int8Agrees) {
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input a: u8[2,300] quant(0.02:100) input b: s8[300] quant(0.01:-3)\n n: "
                          "Min(a, b) -> y: u8[2,300] quant(0.02:110) }"}));
}

TEST(MinTest, IntegersAreExact) {
  const auto result =
      RunReferences("graph g { const a: s64[2] = 5 -3 const b: s64[1] = 2\n n: Min(a, b) -> y: s64[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<int64_t>(), testing::ElementsAre(2, -3));
}

}  // namespace
}  // namespace hachi
