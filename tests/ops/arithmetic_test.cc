#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

struct Row {
  std::string name;
  std::vector<float> reals;       // of the pairs (5, 2), (-7, 2)
  std::vector<int64_t> integers;  // of the pairs (5, 2), (-7, 2), (9007199254740993, 3); empty: refused
  std::string content;            // of the dimensions [N,8] and 4; empty: unknown
  bool folds = false;             // any number of inputs
  double low = -2;                // of what it is tried on
};

class ArithmeticTest : public testing::TestWithParam<Row> {
 protected:
  static std::string Text(std::string_view a, std::string_view b, std::string_view y) {
    return absl::StrCat("graph g { input a: ", std::string(a), " input b: ", std::string(b),
                        "\n n: ", GetParam().name, "(a, b) -> y: ", std::string(y), "}");
  }
};

TEST_P(ArithmeticTest, Fp32AgreesWithBroadcastingOfEitherSide) {
  for (const char* layout : {"", " channels_last"}) {
    const std::string y = absl::StrCat("f32[2,16,4,5]", layout);
    for (const char* b :
         {"f32[2,16,4,5]", "f32[16,1,1]", "f32[]", "f32[2,1,4,5]", "f32[2,16,1,1]", "f32[5]", "f32[4,1]"}) {
      EXPECT_OK(RunOpCase({.graph = Text(y, b, y), .low = GetParam().low})) << y << b;
      EXPECT_OK(RunOpCase({.graph = Text(b, y, y), .low = GetParam().low})) << b << y;
    }
  }
  EXPECT_OK(RunOpCase({.graph = Text("f32[17,1]", "f32[33]", "f32[17,33]"), .low = GetParam().low}));
  EXPECT_OK(RunOpCase({.graph = Text("f32[]", "f32[]", "f32[]"), .low = GetParam().low}));
  EXPECT_OK(RunOpCase(
      {.graph = Text("f32[3,20000]", "f32[3,1]", "f32[3,20000]"), .low = GetParam().low, .threads = 2}));
}

TEST_P(ArithmeticTest, Int8AgreesWithAnyScalesAndZeroPoints) {
  for (const char* a : {"u8[2,300] quant(0.0213:0)", "s8[2,300] quant(0.0377:-7)"})
    for (const char* b :
         {"u8[2,300] quant(0.0177:0)", "s8[300] quant(0.0133:0)", "u8[2,1] quant(0.051:9)", "f32[300]"})
      for (const char* y : {"u8[2,300] quant(0.0419:0)", "s8[2,300] quant(0.053:4)", "f32[2,300]"})
        EXPECT_OK(RunOpCase({.graph = Text(a, b, y), .low = GetParam().low})) << a << b << y;
}

TEST_P(ArithmeticTest, Int8AgreesWhateverTheNumberOfChannels) {
  for (const int channels : {1, 3, 10, 64, 200, 600})
    for (const char* b :
         {"f32[%,1,1]", "f32[2,%,1,1]", "f32[2,1,7,9]", "u8[2,%,7,9] channels_last quant(0.0177:0)"}) {
      const std::string count = absl::StrCat(channels),
                        x = absl::StrCat("u8[2,", count, ",7,9] channels_last ");
      EXPECT_OK(RunOpCase({.graph = Text(x + "quant(0.0213:119)", absl::StrReplaceAll(b, {{"%", count}}),
                                         x + "quant(0.0419:60)"),
                           .low = GetParam().low}))
          << channels << b;
    }
}

TEST_P(ArithmeticTest, HasTheKnownValues) {
  const auto result = RunReferences(absl::StrCat(
      "graph g { const a: f32[2] = 5 -7 const b: f32[] = 2\n n: ", GetParam().name, "(a, b) -> y: f32[?] }"));
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), testing::ElementsAreArray(GetParam().reals));
}

TEST_P(ArithmeticTest, IntegersAreExactOrRefused) {
  const auto result = RunReferences(absl::StrCat(
      "graph g { const a: s64[3] = 5 -7 9007199254740993 const b: s64[3] = 2 2 3\n n: ", GetParam().name,
      "(a, b) -> y: s64[?] }"));
  if (GetParam().integers.empty()) {
    EXPECT_THAT(result.status(),
                StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("has type s64, expected f32")));
    return;
  }
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<int64_t>(), testing::ElementsAreArray(GetParam().integers));
}

TEST_P(ArithmeticTest, ShapesAreFollowed) {
  if (GetParam().integers.empty()) return;
  const std::string content = GetParam().content.empty() ? "" : absl::StrCat(" = ", GetParam().content);
  EXPECT_THAT(InferText(absl::StrCat(
                  "graph g { input x: f32[N,8] const b: s64[] = 4\n s: Shape(x) -> d: s64[?]\n n: ",
                  GetParam().name, "(d, b) -> y: s64[?] }")),
              IsOkAndHolds(absl::StrCat("y: s64[2]", content)));
}

TEST_P(ArithmeticTest, AnyNumberOfInputsIsFoldedOrRefused) {
  const std::string text = absl::StrCat(
      "graph g { input a: f32[5] input b: f32[2,16,1,5] input c: "
      "f32[4,1]\n n: ",
      GetParam().name, "(a, b, c) -> y: f32[2,16,4,5] }");
  if (GetParam().folds)
    EXPECT_OK(RunOpCase({.graph = text, .kernel = "hachi_broadcast"}));
  else
    EXPECT_THAT(InferText(text),
                StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("3 inputs, expected 2")));
}

TEST_P(ArithmeticTest, ShapesThatDoNotBroadcastAreRefused) {
  EXPECT_THAT(InferText(absl::StrCat("graph g { input a: f32[N,3] input b: f32[2]\n n: ", GetParam().name,
                                     "(a, b) -> y: f32[?] }")),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("do not broadcast")));
}

INSTANTIATE_TEST_SUITE_P(
    Members, ArithmeticTest,
    testing::Values(Row{"Add", {7, -5}, {7, -5, 9007199254740996}, "[N+4,12]"},
                    Row{"Div", {2.5, -3.5}, {2, -3, 3002399751580331}, "[floor((N)/4),2]", false, 0.5},
                    Row{"Max", {5, 2}, {5, 2, 9007199254740993}, "", true},
                    Row{"Min", {2, -7}, {2, -7, 3}, "", true},
                    Row{"Mul", {10, -14}, {10, -14, 27021597764222979}, "[4*N,32]"},
                    Row{"PRelu", {5, -14}, {}}, Row{"Sub", {3, -9}, {3, -9, 9007199254740990}, "[N-4,4]"},
                    Row{"Sum", {7, -5}, {}, "", true}),
    [](const auto& row) { return row.param.name; });

TEST(ArithmeticIntegersTest, WrapAtTheirWidth) {
  const auto result =
      RunReferences("graph g { const a: u8[3] = 1 200 255 const b: u8[1] = 100\n n: Add(a, b) -> y: u8[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<uint8_t>(), testing::ElementsAre(101, 44, 99));
}

TEST(ArithmeticIntegersTest, AreOfOneTypeAndNotBool) {
  EXPECT_THAT(InferText("graph g { input a: s64[3] input b: s32[3]\n n: Add(a, b) -> y: s64[?] }"),
              StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("has type s32, expected s64")));
  EXPECT_THAT(InferText("graph g { input a: bool[3] input b: bool[3]\n n: Add(a, b) -> y: bool[?] }"),
              StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("inputs have type bool")));
}

TEST(ArithmeticIntegersTest, AreNotDividedByZeroByDefinition) {
  EXPECT_THAT(RunReferences("graph g { const a: s64[1] = 7 const b: s64[1] = 0\n n: Div(a, b) -> y: s64[?] }")
                  .status(),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("divides an integer by 0")));
  EXPECT_THAT(
      InferText("graph g { const a: s64[1] = -9223372036854775808 const b: s64[1] = -1\n n: Div(a, b) -> y: "
                "s64[?] }"),
      IsOkAndHolds("y: s64[1] = [9223372036854775807]"));
}

std::string AddText(std::string_view a, std::string_view b, std::string_view y) {
  return absl::StrCat("graph g { input a: ", std::string(a), " input b: ", std::string(b),
                      "\n n: Add(a, b) post clip(0,inf) -> y: ", std::string(y), "}");
}

TEST(AddTest, BroadcastingIsByAxisNotByMemory) {
  for (const char* b :
       {"f32[2,16,4,4] channels_last", "f32[16,1,1]", "f32[1]", "f32[1,16,1,1] channels_last"})
    EXPECT_OK(RunOpCase({.graph = AddText("f32[2,16,4,4] channels_last", b, "f32[2,16,4,4] channels_last")}))
        << b;
}

TEST(AddTest, Int8AgreesWithAnActivationFused) {
  for (const char* a : {"u8 quant(0.0213:0)", "u8 quant(0.0213:119)", "s8 quant(0.0377:-7)"})
    for (const char* b : {"u8 quant(0.02:0)", "u8 quant(0.05:20)", "s8 quant(0.01:0)"})
      for (const char* y : {"u8 quant(0.04:0)", "u8 quant(0.04:100)", "s8 quant(0.05:0)"})
        for (const char* shape : {"[1,1,1,1]", "[2,17,5,3]", "[1,32,4,4]"}) {
          const auto type = [&](std::string text) {
            return absl::StrCat(text.substr(0, 2), shape, " channels_last", text.substr(2));
          };
          EXPECT_OK(RunOpCase({.graph = AddText(type(a), type(b), type(y))})) << a << b << y << shape;
        }
}

TEST(AddTest, EveryActivationIsFused) {
  for (const char* post :
       {"", "post leaky_relu(0.1)", "post clip(-1,2)", "post hard_swish()", "post sigmoid()"})
    for (const char* y : {"u8[2,300] quant(0.05:0)", "f32[2,300]"})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input a: u8[2,300] quant(0.0213:119) input b: s8[2,300] "
                                 "quant(0.0377:0)\n n: Add(a, b) ",
                                 post, " -> y: ", y, "}"),
           .kernel = *y == 'f' ? "hachi_broadcast" : "onednn"}))
          << post << y;
}

TEST(AddTest, TwoShiftsThatTheLibraryWouldMixUpRunInOurKernel) {
  EXPECT_OK(RunOpCase(
      {.graph = "graph g { input a: u8[2,300] quant(0.0213:119) input b: s8[2,300] quant(0.0377:0)\n "
                "n: Add(a, b) post hard_swish() -> y: u8[2,300] quant(0.05:3) }",
       .kernel = "hachi_broadcast"}));
}

}  // namespace
}  // namespace hachi
