#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

struct Size {
  int rows, depth, columns;
};
const Size kSizes[] = {{1, 1, 1}, {1, 64, 10}, {3, 17, 19}, {16, 32, 48}, {5, 300, 33}};

// {"s8", " quant(axis=0,...)"}: weights [N, K] with a scale for each column of the product.
std::string PerColumn(int axis, int columns) {
  std::string quant = absl::StrCat(" quant(axis=", axis);
  for (int c = 0; c < columns; ++c) absl::StrAppend(&quant, ",", 0.001 * (1 + c % 5), ":0");
  return quant + ")";
}

std::string GraphText(const Size& s, std::string x, std::string w_type, std::string w_quant, bool transposed,
                      std::string tail) {
  const std::string shape = transposed ? absl::StrCat("[", s.columns, ",", s.depth, "]")
                                       : absl::StrCat("[", s.depth, ",", s.columns, "]");
  return absl::StrCat("graph g { input x: ", x, " input r: f32[", s.rows, ",", s.columns,
                      "]\n const w: ", w_type, shape, w_quant, " = random 5 ",
                      w_type != "s8"       ? "-1 1"
                      : SumsBytesExactly() ? "-127 127"
                                           : "-63 63",
                      "\n const b: f32[", s.columns, "] = random 6 -1 1\n", tail, "}");
}

TEST(GemmTest, Fp32AgreesWithEitherOrderOfWeights) {
  for (const Size& s : kSizes)
    for (const bool transposed : {false, true})
      EXPECT_OK(RunOpCase(
          {.graph = GraphText(s, absl::StrCat("f32[", s.rows, ",", s.depth, "]"), "f32", "", transposed,
                              absl::StrCat("g: Gemm(x, w, b) {transB=", transposed ? 1 : 0,
                                           ", beta=0.5} post clip(0,6) -> y: f32[?]"))}))
          << s.rows << transposed;
}

TEST(GemmTest, TransposedInputAndBroadcastBiasAgree) {
  const Size& s = kSizes[2];
  EXPECT_OK(RunOpCase(
      {.graph = GraphText(s, "f32[17,3]", "f32", "", false, "g: Gemm(x, w, b) {transA=1} -> y: f32[?]")}));
  for (const char* shape : {"[]", "[1]", "[1,1]", "[1,19]"})
    EXPECT_OK(
        RunOpCase({.graph = absl::StrCat("graph g { input x: f32[3,17] const w: f32[17,19] = random 1 -1 1\n"
                                         " const b: f32",
                                         shape, " = splat 2\n g: Gemm(x, w, b) -> y: f32[3,19] }")}))
        << shape;
}

TEST(GemmTest, FewRowsOfAnyBiasRunByReference) {
  EXPECT_OK(RunOpCase({.graph = "graph g { input x: f32[3,17] const w: f32[17,19] = random 1 -1 1\n const b: "
                                "f32[3,1] = 1 2 3\n g: Gemm(x, w, b) {alpha=0.5} -> y: f32[3,19] }",
                       .kernel = "ref"}));
}

TEST(GemmTest, Fp32ResidualIsAdded) {
  for (const Size& s : kSizes)
    EXPECT_OK(
        RunOpCase({.graph = GraphText(s, absl::StrCat("f32[", s.rows, ",", s.depth, "]"), "f32", "", false,
                                      "g: Gemm(x, w, b, r) post add(3) clip(0,inf) -> y: f32[?]")}));
}

TEST(GemmTest, Int8AgreesWithAnyZeroPoint) {
  for (const char* x_quant : {"u8 quant(0.02:0)", "u8 quant(0.02:119)", "s8 quant(0.02:0)"})
    for (const char* y : {"u8[?] quant(0.05:0)", "u8[?] quant(0.05:100)", "s8[?] quant(0.05:-3)", "f32[?]"})
      for (const Size& s : kSizes)
        for (const bool transposed : {false, true}) {
          const std::string x(x_quant);
          EXPECT_OK(
              RunOpCase({.graph = GraphText(
                             s, absl::StrCat(x.substr(0, 2), "[", s.rows, ",", s.depth, "]", x.substr(2)),
                             "s8", PerColumn(transposed ? 0 : 1, s.columns), transposed,
                             absl::StrCat("g: Gemm(x, w, b) {transB=", transposed ? 1 : 0,
                                          "} post clip(-1,3) -> y: ", y))}))
              << x_quant << y << s.rows;
        }
}

TEST(GemmTest, ContradictionsAreRefused) {
  using testing::HasSubstr;
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,4] const w: f32[5,3] = splat 1\n g: Gemm(x, w) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("depths 4 and 5")));
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,4,1] const w: f32[5,3] = splat 1\n g: Gemm(x, w) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has rank 3, expected 2")));
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,4] const w: f32[4,3] = splat 1 const c: f32[2] = 1 2\n g: Gemm(x, "
                "w, c) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("broadcasts to [N,3]")));
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,4] const w: f32[4,3] = splat 1 input r: f32[N,2]\n g: Gemm(x, w, "
                "_, r) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[N,2], expected [N,3]")));
}

}  // namespace
}  // namespace hachi
