#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

std::string GraphText(std::string_view a, std::string_view b, std::string_view y) {
  return absl::StrCat("graph g { input a: ", std::string(a), " input b: ", std::string(b),
                      "\n n: Sub(a, b) -> y: ", std::string(y), "}");
}

TEST(SubTest, Fp32AgreesWithBroadcastingOfEitherSide) {
  for (const char* layout : {"", " channels_last"}) {
    const std::string y = absl::StrCat("f32[2,16,4,5]", layout);
    for (const char* b :
         {"f32[2,16,4,5]", "f32[16,1,1]", "f32[]", "f32[2,1,4,5]", "f32[2,16,1,1]", "f32[5]", "f32[4,1]"}) {
      EXPECT_OK(RunOpCase({.graph = GraphText(y, b, y), .low = 0.5})) << y << b;
      EXPECT_OK(RunOpCase({.graph = GraphText(b, y, y), .low = 0.5})) << b << y;
    }
  }
  EXPECT_OK(RunOpCase({.graph = GraphText("f32[17,1]", "f32[33]", "f32[17,33]"), .low = 0.5}));
  EXPECT_OK(RunOpCase({.graph = GraphText("f32[]", "f32[]", "f32[]"), .low = 0.5}));
  EXPECT_OK(
      RunOpCase({.graph = GraphText("f32[3,20000]", "f32[3,1]", "f32[3,20000]"), .low = 0.5, .threads = 2}));
}

TEST(SubTest, Int8AgreesWithAnyScalesAndZeroPoints) {
  for (const char* a : {"u8[2,300] quant(0.0213:0)", "s8[2,300] quant(0.0377:-7)"})
    for (const char* b :
         {"u8[2,300] quant(0.0177:0)", "s8[300] quant(0.0133:0)", "u8[2,1] quant(0.051:9)", "f32[300]"})
      for (const char* y : {"u8[2,300] quant(0.0419:0)", "s8[2,300] quant(0.053:4)", "f32[2,300]"})
        EXPECT_OK(RunOpCase({.graph = GraphText(a, b, y), .low = 0.5})) << a << b << y;
}

TEST(SubTest, IntegersAreExactAndShapesAreFollowed) {
  const auto result = RunReferences(
      "graph g { const a: s64[3] = 5 -3 9007199254740993 const b: s64[1] = 2\n n: Sub(a, b) -> y: s64[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<int64_t>(), testing::ElementsAre(3, -5, 9007199254740991));
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[N,8] const b: s64[] = 2\n s: Shape(x) -> d: s64[?]\n n: Sub(d, b) -> y: "
          "s64[?] }"),
      IsOkAndHolds("y: s64[2] = [N-2,6]"));
}

}  // namespace
}  // namespace hachi
