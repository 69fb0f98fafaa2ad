#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

std::string GraphText(std::string_view x, std::string_view y, std::string_view rest = "") {
  return absl::StrCat("graph g { input x: ", std::string(x),
                      " const s: f32[33] = random 1 0.5 2 const b: f32[33] = random 2 -0.5 0.5\n n: "
                      "LayerNormalization(x, s, b) {epsilon=0.001",
                      std::string(rest), "} -> y: ", std::string(y), "}");
}

TEST(LayerNormalizationTest, Fp32Agrees) {
  for (const char* type : {"f32[33]", "f32[1,33]", "f32[5,7,33]", "f32[2,3,4,33]"})
    EXPECT_OK(RunOpCase({.graph = GraphText(type, type), .tolerance = 2e-6, .kernel = "hachi_layer_norm"}))
        << type;
  EXPECT_OK(RunOpCase({.graph = GraphText("f32[999,33]", "f32[999,33]"),
                       .low = 5,
                       .high = 9,
                       .tolerance = 1e-5,
                       .threads = 2}));
}

TEST(LayerNormalizationTest, IntegersAgreeOnEitherSide) {
  for (const char* x : {"f32[50,33]", "u8[50,33] quant(0.02:100)", "s8[50,33] quant(0.013:-7)"})
    for (const char* y : {"f32[50,33]", "u8[50,33] quant(0.02:119)", "s8[50,33] quant(0.03:4)"})
      EXPECT_OK(RunOpCase({.graph = GraphText(x, y), .tolerance = 5e-6, .kernel = "hachi_layer_norm"}))
          << x << y;
}

TEST(LayerNormalizationTest, SeveralAxesAndParametersThatBroadcast) {
  EXPECT_OK(RunOpCase({.graph = "graph g { input x: f32[5,4,33] const s: f32[33] = random 1 0.5 2\n n: "
                                "LayerNormalization(x, s) {axis=1} -> y: f32[5,4,33] }",
                       .tolerance = 2e-6,
                       .kernel = "hachi_layer_norm"}));
}

TEST(LayerNormalizationTest, ParametersThatDoNotFitARowAreRefused) {
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[2,3] const s: f32[2] = 1 1\n n: LayerNormalization(x, s) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               testing::HasSubstr("expected one that broadcasts to [3]")));
}

}  // namespace
}  // namespace hachi
