#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

struct Shapes {
  const char *a, *b;
};

TEST(MatMulTest, Fp32AgreesWithConstantWeights) {
  for (const Shapes& s : {Shapes{"[1,1]", "[1,1]"},
                          {"[3,17]", "[17,19]"},
                          {"[2,5,32]", "[32,48]"},
                          {"[2,3,4,16]", "[16,33]"},
                          {"[1,300]", "[300,16]"},
                          {"[16]", "[16,33]"}})
    EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input a: f32", s.a, " const b: f32", s.b,
                                               " = random 1 -1 1\n m: MatMul(a, b) -> y: f32[?] }")}))
        << s.a << s.b;
}

TEST(MatMulTest, Fp32AgreesWithComputedOperands) {
  for (const Shapes& s : {Shapes{"[3,17]", "[17,19]"},
                          {"[2,5,32]", "[2,32,48]"},
                          {"[2,3,4,16]", "[2,3,16,5]"},
                          {"[2,3,4,16]", "[3,16,5]"},
                          {"[2,3,4,16]", "[16,5]"},
                          {"[4,16]", "[2,16,5]"},
                          {"[7]", "[7]"},
                          {"[7]", "[2,7,3]"},
                          {"[2,3,7]", "[7]"}})
    EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input a: f32", s.a, " input b: f32", s.b,
                                               "\n m: MatMul(a, b) -> y: f32[?] }")}))
        << s.a << s.b;
}

TEST(MatMulTest, BiasResidualAndPostOpsAreFused) {
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input a: f32[2,3,32] const w: f32[32,17] = random 1 -1 1\n const b: "
                "f32[17] = random 2 -1 1\n input r: f32[2,3,17]\n m: MatMul(a, w, b, r) post add(3) "
                "gelu() -> y: f32[2,3,17] }",
       .tolerance = 1e-3}));
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input a: u8[2,3,32] quant(0.02:7) const w: s8[32,17] quant(0.004:0) = "
                          "random 1 -63 63\n const b: f32[17] = random 2 -1 1\n input r: u8[2,3,17] "
                          "quant(0.03:77)\n m: MatMul(a, w, b, r) post add(3) clip(0,inf) -> y: u8[2,3,17] "
                          "quant(0.05:0) }"}));
}

TEST(MatMulTest, Int8AgreesWithConstantWeights) {
  for (const char* x : {"u8[2,5,64] quant(0.02:0)", "u8[2,5,64] quant(0.02:119)", "s8[2,5,64] quant(0.02:0)"})
    for (const char* y : {"u8[2,5,3] quant(0.05:100)", "s8[2,5,3] quant(0.05:-3)", "f32[2,5,3]"})
      EXPECT_OK(
          RunOpCase({.graph = absl::StrCat(
                         "graph g { input a: ", x,
                         " const w: s8[64,3] quant(axis=1,0.001:0,0.002:0,0.003:0) = random "
                         "1 ",
                         SumsBytesExactly() ? "-127 127" : "-63 63", "\n m: MatMul(a, w) -> y: ", y, "}")}))
          << x << y;
}

TEST(MatMulTest, Int8AgreesWithComputedOperands) {
  if (!SumsBytesExactly()) GTEST_SKIP() << "computed operands use all their bits";
  for (const char* a :
       {"u8[2,3,5,16] quant(0.02:0)", "u8[2,3,5,16] quant(0.02:119)", "s8[2,3,5,16] quant(0.02:0)"})
    for (const char* y : {"u8[2,3,5,7] quant(0.5:100)", "f32[2,3,5,7]"})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input a: ", a,
                                 " input b: s8[2,3,16,7] quant(0.03:0)\n m: MatMul(a, b) -> y: ", y, "}")}))
          << a << y;
}

TEST(MatMulTest, ContradictionsAreRefused) {
  using testing::HasSubstr;
  EXPECT_THAT(InferText("graph g { input a: f32[N,4] input b: f32[5,3]\n m: MatMul(a, b) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("depths 4 and 5")));
  EXPECT_THAT(InferText("graph g { input a: f32[2,N,4] input b: f32[3,4,3]\n m: MatMul(a, b) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("do not broadcast")));
  EXPECT_THAT(InferText("graph g { input a: f32[] input b: f32[3,4,3]\n m: MatMul(a, b) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has rank 0, expected 1 to 12")));
  EXPECT_THAT(
      InferText("graph g { input a: f32[N,4] input b: f32[4,3] const c: f32[2] = 1 2\n m: MatMul(a, b, c) "
                "-> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[2], expected [3]")));
}

}  // namespace
}  // namespace hachi
