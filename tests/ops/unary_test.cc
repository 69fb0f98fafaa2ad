#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "engine/ops/op.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

struct Row {
  std::string name;
  double low, high;  // of what it is tried on
  double tolerance;
  double x, y;  // a value known from elsewhere
  bool int8 = false;
  std::string_view kernel = "hachi_unary";
};

class UnaryTest : public testing::TestWithParam<Row> {
 protected:
  static std::string Text(std::string_view x, std::string_view y) {
    return absl::StrCat("graph g { input x: ", std::string(x), "\n n: ", GetParam().name,
                        "(x) -> y: ", std::string(y), "}");
  }
};

TEST_P(UnaryTest, Fp32AgreesInEveryLayout) {
  const Row& row = GetParam();
  for (const char* type :
       {"f32[1]", "f32[2,17,5,3]", "f32[2,17,5,3] channels_last", "f32[33]", "f32[]", "f32[3,9000]"})
    EXPECT_OK(RunOpCase({.graph = Text(type, type),
                         .low = row.low,
                         .high = row.high,
                         .tolerance = row.tolerance,
                         .kernel = row.kernel}))
        << type;
}

TEST_P(UnaryTest, HasTheKnownValue) {
  const auto result = RunReferences(absl::StrCat("graph g { const x: f32[1] = ", GetParam().x,
                                                 "\n n: ", GetParam().name, "(x) -> y: f32[?] }"));
  ASSERT_OK(result.status());
  EXPECT_FLOAT_EQ((*result)[0].As<float>()[0], static_cast<float>(GetParam().y));
}

TEST_P(UnaryTest, Int8IsExactOrStaysFp32) {
  if (!GetParam().int8) {
    EXPECT_EQ(FindOp(GetParam().name)->quantize, QuantRule::kNone);
    return;
  }
  for (const char* x : {"u8[2,300] quant(0.05:0)", "u8[2,300] quant(0.05:119)", "s8[2,300] quant(0.03:-5)"})
    for (const char* y : {"u8[2,300] quant(0.02:3)", "s8[2,300] quant(0.05:3)", "f32[2,300]"})
      EXPECT_OK(RunOpCase({.graph = Text(x, y), .tolerance = 1e-6, .tie_share = 1, .kernel = "hachi_table"}))
          << x << y;
}

INSTANTIATE_TEST_SUITE_P(
    Members, UnaryTest,
    testing::Values(Row{"Abs", -2, 2, 0, -1.5, 1.5, true},
                    Row{"Acos", -1, 1, 1e-6, 0.5, 1.0471975512, false, "hachi_scalar"},
                    Row{"Acosh", 1, 9, 1e-6, 2, 1.3169578969, false, "hachi_scalar"},
                    Row{"Asin", -1, 1, 1e-6, 0.5, 0.52359877560, false, "hachi_scalar"},
                    Row{"Asinh", -9, 9, 1e-6, 1, 0.88137358702, false, "hachi_scalar"},
                    Row{"Atan", -9, 9, 1e-6, 1, 0.78539816340, false, "hachi_scalar"},
                    Row{"Atanh", -0.9, 0.9, 1e-6, 0.5, 0.54930614433, false, "hachi_scalar"},
                    Row{"Ceil", -9, 9, 0, -1.5, -1, false, "hachi_scalar"},
                    Row{"Cos", -9, 9, 1e-6, 1, 0.54030230587, false, "hachi_scalar"},
                    Row{"Cosh", -9, 9, 1e-6, 1, 1.54308063482, false, "hachi_scalar"},
                    Row{"Erf", -5, 5, 5e-7, 0.5, 0.52049987781, true},
                    Row{"Exp", -80, 80, 1e-6, 1, 2.71828182846},
                    Row{"Floor", -9, 9, 0, -1.5, -2, false, "hachi_scalar"},
                    Row{"Log", 0, 1000, 1e-6, 10, 2.30258509299},
                    Row{"Mish", -9, 9, 1e-6, 1, 0.86509838827, true, "hachi_scalar"},
                    Row{"Neg", -2, 2, 0, 1.5, -1.5, true}, Row{"Reciprocal", 0.01, 9, 0, 4, 0.25},
                    Row{"Round", -9, 9, 0, 2.5, 2, false, "hachi_scalar"},
                    Row{"Sign", -9, 9, 0, -3, -1, false, "hachi_scalar"},
                    Row{"Sin", -9, 9, 1e-6, 1, 0.84147098481, false, "hachi_scalar"},
                    Row{"Sinh", -9, 9, 1e-6, 1, 1.17520119364, false, "hachi_scalar"},
                    Row{"Softplus", -9, 9, 1e-6, 1, 1.31326168752, true, "hachi_scalar"},
                    Row{"Softsign", -9, 9, 1e-6, -3, -0.75, true, "hachi_scalar"},
                    Row{"Sqrt", 0, 1000, 0, 2, 1.41421356237},
                    Row{"Tan", -1.5, 1.5, 1e-6, 1, 1.55740772465, false, "hachi_scalar"}),
    [](const auto& row) { return row.param.name; });

TEST(UnaryIntegersTest, AreExact) {
  const auto of = [](std::string op) {
    const auto result = RunReferences(
        absl::StrCat("graph g { const x: s64[3] = 5 -3037000500 0\n n: ", op, "(x) -> y: s64[?] }"));
    const auto y = (*result)[0].As<int64_t>();
    return std::vector<int64_t>(y.begin(), y.end());
  };
  EXPECT_THAT(of("Abs"), testing::ElementsAre(5, 3037000500, 0));
  EXPECT_THAT(of("Neg"), testing::ElementsAre(-5, 3037000500, 0));
  EXPECT_THAT(of("Sign"), testing::ElementsAre(1, -1, 0));
}

TEST(UnaryIntegersTest, AreRefusedWhereTheFunctionIsOfRealNumbers) {
  EXPECT_THAT(InferText("graph g { input x: s32[2]\n n: Sqrt(x) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("has type s32, expected f32")));
}

}  // namespace
}  // namespace hachi
