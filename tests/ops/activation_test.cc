#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

struct Row {
  std::string name;
  std::string attrs;
  double tolerance;  // of the library's polynomials
  double x, y;       // a value known from elsewhere
  std::string_view kernel = "onednn";
};

class ActivationTest : public testing::TestWithParam<Row> {
 protected:
  static std::string Text(std::string_view x, std::string_view y, std::string_view post = "") {
    return absl::StrCat("graph g { ", std::string(x), "\n n: ", GetParam().name, "(x) ", GetParam().attrs,
                        post.empty() ? "" : " post ", std::string(post), " -> y: ", std::string(y), "}");
  }
};

TEST_P(ActivationTest, Fp32AgreesInEveryLayout) {
  for (const char* type : {"f32[1]", "f32[1,1,1,1]", "f32[2,17,5,3]", "f32[2,17,5,3] channels_last",
                           "f32[33]", "f32[]", "f32[3,9000]"})
    EXPECT_OK(RunOpCase({.graph = Text(absl::StrCat("input x: ", type), type),
                         .low = -9,
                         .high = 9,
                         .tolerance = GetParam().tolerance,
                         .kernel = GetParam().kernel}))
        << type;
}

TEST_P(ActivationTest, HasTheKnownValue) {
  const auto result = RunReferences(Text(absl::StrCat("const x: f32[1] = ", GetParam().x), "f32[?]"));
  ASSERT_OK(result.status());
  EXPECT_NEAR((*result)[0].As<float>()[0], GetParam().y, 1e-6);
}

TEST_P(ActivationTest, Int8IsExactForAnyScalesAndZeroPoints) {
  for (const char* x : {"u8[2,300] quant(0.05:0)", "u8[2,300] quant(0.05:119)", "s8[2,300] quant(0.03:-5)"})
    for (const char* y : {"u8[2,300] quant(0.02:3)", "s8[2,300] quant(0.05:3)", "f32[2,300]"})
      EXPECT_OK(RunOpCase({.graph = Text(absl::StrCat("input x: ", x), y),
                           .tolerance = 1e-6,
                           .tie_share = 1,
                           .kernel = "hachi_table"}))
          << x << y;
}

TEST_P(ActivationTest, FusedOperationsGoIntoTheTable) {
  EXPECT_OK(RunOpCase(
      {.graph = Text("input x: u8[999] quant(0.1:100)", "u8[999] quant(0.02:4)", "swish(1) clip(0,3)"),
       .tie_share = 1,
       .kernel = "hachi_table"}));
}

TEST_P(ActivationTest, IntegersWithoutAScaleAreRefused) {
  EXPECT_THAT(InferText(Text("input x: s32[2]", "f32[?]")),
              StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("has type s32, expected f32")));
}

INSTANTIATE_TEST_SUITE_P(
    Members, ActivationTest,
    testing::Values(Row{"Elu", "", 2e-6, -1, -0.6321206}, Row{"Elu", "{alpha=0.7}", 2e-6, -1, -0.4424844},
                    Row{"Gelu", "", 1e-6, -1, -0.1586553},
                    Row{"Gelu", "{approximate=\"tanh\"}", 1e-6, -1, -0.1588080},
                    Row{"HardSigmoid", "", 1e-6, 1, 0.7, "hachi_hard_sigmoid"},
                    Row{"HardSigmoid", "{alpha=0.3,beta=0.4}", 1e-6, -1, 0.1, "hachi_hard_sigmoid"},
                    Row{"HardSwish", "", 2e-6, 1, 0.6666667}, Row{"LeakyRelu", "", 1e-7, -2, -0.02},
                    Row{"LeakyRelu", "{alpha=0.2}", 1e-7, -2, -0.4}, Row{"Relu", "", 0, -2, 0},
                    Row{"Sigmoid", "", 2e-6, 1, 0.7310586}, Row{"Swish", "", 2e-6, 1, 0.7310586},
                    Row{"Swish", "{alpha=2.0}", 2e-6, 1, 0.8807971}, Row{"Tanh", "", 2e-6, 1, 0.7615942}),
    [](const auto& row) { return absl::StrCat(row.param.name, row.index); });

TEST(GeluTest, RunsOnAProductsAccumulators) {
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input x: f32[5,33] const w: f32[33,40] = random 1 -1 1\n m: MatMul(x, w) "
                "post gelu() -> y: f32[5,40] }",
       .tolerance = 2e-6}));
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input x: u8[5,64] quant(0.02:0) const w: s8[64,48] quant(0.01:0) = random 1 "
                "-63 63\n m: MatMul(x, w) post gelu() -> y: u8[5,48] quant(0.05:3) }"}));
}

TEST(GeluTest, AnotherApproximationIsRefused) {
  EXPECT_THAT(InferText("graph g { input x: f32[2]\n n: Gelu(x) {approximate=\"sigmoid\"} -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("expected none or tanh")));
}

}  // namespace
}  // namespace hachi
