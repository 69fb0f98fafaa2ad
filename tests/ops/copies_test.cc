#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

struct Row {
  std::string name;
  std::string node;  // makes y of x, which is [2,17,1,4]
  std::string dims;  // of y
  bool any_layout = false;
};

class CopyTest : public testing::TestWithParam<Row> {};

TEST_P(CopyTest, KeepsRowMajorOrderWhateverTheLayout) {
  for (const char* layout : {"", " channels_last"})
    for (const std::string quant : {"", " quant(0.5:1)"}) {
      const Row& row = GetParam();
      const std::string type = quant.empty() ? "f32" : "u8";
      const std::string to = row.any_layout ? layout : "";
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, "[2,17,1,4]", layout, quant,
                                                 "\n ", row.node, " -> y: ", type, row.dims, to, quant, "}"),
                           .tolerance = 0,
                           .tie_share = 1,
                           .kernel = *layout == 0 || row.any_layout ? "view" : "hachi_permute"}))
          << layout << quant;
    }
}

TEST_P(CopyTest, OutputHasTheInputsQuantization) {
  EXPECT_THAT(InferText(absl::StrCat("graph g { input x: u8[2,17,1,4] quant(0.5:7)\n ", GetParam().node,
                                     " -> y: f32[?] }")),
              IsOkAndHolds(absl::StrCat("y: u8", GetParam().dims, " quant(0.5:7)")));
}

INSTANTIATE_TEST_SUITE_P(
    Members, CopyTest,
    testing::Values(Row{"Dropout", "const r: f32[] = 0.5\n n: Dropout(x, r)", "[2,17,1,4]", true},
                    Row{"Flatten", "n: Flatten(x)", "[2,68]"},
                    Row{"Identity", "n: Identity(x)", "[2,17,1,4]", true},
                    Row{"Reorder", "n: Reorder(x)", "[2,17,1,4]"},
                    Row{"Reshape", "const s: s64[3] = 4 -1 17\n n: Reshape(x, s)", "[4,2,17]"},
                    Row{"Squeeze", "n: Squeeze(x)", "[2,17,4]"},
                    Row{"Unsqueeze", "const a: s64[1] = 1\n n: Unsqueeze(x, a)", "[2,1,17,1,4]"}),
    [](const auto& row) { return row.param.name; });

TEST(DropoutTest, TheMaskIsAllOnes) {
  const auto result =
      RunReferences("graph g { const x: f32[3] = 1 2 3\n d: Dropout(x) -> y: f32[?], m: bool[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<float>(), testing::ElementsAre(1, 2, 3));
  EXPECT_THAT((*result)[1].As<bool>(), testing::Each(true));
}

TEST(DropoutTest, TrainingIsRefused) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[2] const r: f32[] = 0.5 const t: bool[] = 1\n d: Dropout(x, r, t) "
                "-> y: f32[?] }"),
      StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("training_mode is true")));
  EXPECT_THAT(
      InferText("graph g { input x: f32[2] const r: f32[] = 0.5 input t: bool[]\n d: Dropout(x, r, t) -> "
                "y: f32[?] }"),
      StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("training_mode is computed")));
}

TEST(FlattenTest, TheAxisDividesTheDimensions) {
  const auto infer = [](int axis) {
    return InferText(absl::StrCat("graph g { input x: u8[N,3,4,M] quant(0.5:1)\n f: Flatten(x) {axis=", axis,
                                  "} -> y: f32[?] }"));
  };
  EXPECT_THAT(infer(0), IsOkAndHolds("y: u8[1,12*M*N] quant(0.5:1)"));
  EXPECT_THAT(infer(1), IsOkAndHolds("y: u8[N,12*M] quant(0.5:1)"));
  EXPECT_THAT(infer(4), IsOkAndHolds("y: u8[12*M*N,1] quant(0.5:1)"));
  EXPECT_THAT(infer(-1), IsOkAndHolds("y: u8[12*N,M] quant(0.5:1)"));
  EXPECT_THAT(infer(5), StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("axis is 5")));
}

TEST(IdentityTest, CopiesEveryTypeInItsLayout) {
  for (const char* type :
       {"f32[2,17,3,3] channels_last", "u8[5,3] quant(0.1:7)", "s64[4]", "bool[3]", "f32[]"})
    EXPECT_OK(
        RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, "\n i: Identity(x) -> y: ", type, "}"),
                   .low = 0,
                   .high = 1,
                   .tolerance = 0,
                   .kernel = "view"}))
        << type;
}

TEST(IdentityTest, OutputHasTheInputsQuantizationAndContent) {
  EXPECT_THAT(InferText("graph g { input x: u8[N,3] quant(0.5:7)\n i: Identity(x) -> y: f32[?] }"),
              IsOkAndHolds("y: u8[N,3] quant(0.5:7)"));
  EXPECT_THAT(InferText("graph g { const x: s64[2] = 4 5\n i: Identity(x) -> y: s64[?] }"),
              IsOkAndHolds("y: s64[2] = [4,5]"));
}

TEST(IdentityTest, TwoInputsAreRefused) {
  EXPECT_THAT(InferText("graph g { input x: f32[2]\n i: Identity(x, x) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("2 inputs, expected 1")));
}

TEST(ReorderTest, BringsEveryShapeIntoTheOtherLayout) {
  for (const char* shape : {"[1,1,1,1]", "[1,3,7,5]", "[2,16,8,8]", "[3,17,9,4]", "[2,5,3]", "[1,64,2,3,4]"})
    for (const char* type : {"f32", "u8"})
      for (const bool to_channels_last : {false, true}) {
        const std::string plain = absl::StrCat(type, shape, type[0] == 'u' ? " quant(0.5:3)" : "");
        const std::string last =
            absl::StrCat(type, shape, " channels_last", type[0] == 'u' ? " quant(0.5:3)" : "");
        EXPECT_OK(
            RunOpCase({.graph = absl::StrCat("graph g { input x: ", to_channels_last ? plain : last,
                                             "\n r: Reorder(x) -> y: ", to_channels_last ? last : plain, "}"),
                       .tolerance = 0,
                       .tie_share = 1,
                       .kernel = shape == std::string_view("[1,1,1,1]") ? "view" : "hachi_permute"}))
            << type << shape << to_channels_last;
      }
}

absl::StatusOr<std::string> InferReshape(std::string x, std::string shape, std::string attrs = "") {
  return InferText(absl::StrCat("graph g { input x: ", x, " const s: s64", shape, "\n r: Reshape(x, s)",
                                attrs, " -> y: f32[?] }"));
}

TEST(ReshapeTest, SymbolsStayAndMinusOneIsWhatIsLeft) {
  EXPECT_THAT(InferReshape("u8[N,3,4] quant(0.5:1)", "[2] = -1 12"),
              IsOkAndHolds("y: u8[N,12] quant(0.5:1)"));
  EXPECT_THAT(InferReshape("f32[N,3,4]", "[2] = 0 -1"), IsOkAndHolds("y: f32[N,12]"));
  EXPECT_THAT(InferReshape("f32[N,S,768]", "[4] = 0 0 12 64"), IsOkAndHolds("y: f32[N,S,12,64]"));
  EXPECT_THAT(InferReshape("f32[0,3]", "[2] = 3 0", "{allowzero=1}"), IsOkAndHolds("y: f32[3,0]"));
  EXPECT_THAT(InferReshape("f32[1]", "[0] ="), IsOkAndHolds("y: f32[]"));
}

TEST(ReshapeTest, AShapeMayBeMadeOfDimensions) {
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[N,S,12,64]\n s: Shape(x) -> d: s64[?] const i: s64[] = 1\n g: "
          "Gather(d, i) -> e: s64[?] const a: s64[1] = 0\n u: Unsqueeze(e, a) -> f: s64[?] const m: "
          "s64[1] = -1 const l: s64[1] = 768\n c: Concat(m, f, l) {axis=0} -> h: s64[?]\n r: Reshape(x, "
          "h) -> y: f32[?] }"),
      IsOkAndHolds("y: f32[N,S,768]"));
}

TEST(ReshapeTest, ContradictionsAreRefused) {
  using testing::HasSubstr;
  EXPECT_THAT(InferReshape("f32[N,3]", "[2] = -1 -1").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most one -1")));
  EXPECT_THAT(InferReshape("f32[2,3]", "[2] = 5 -1").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("divides the elements of [2,3]")));
  EXPECT_THAT(InferReshape("f32[2,3]", "[2] = 2 4").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("as many elements as [2,3]")));
  EXPECT_THAT(
      InferText("graph g { input x: f32[2] input s: s64[1]\n r: Reshape(x, s) -> y: f32[?] }").status(),
      StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("the shape 's' is computed")));
}

TEST(SqueezeTest, RemovesAxesOfOneElement) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,1,3,1] const a: s64[1] = -1\n s: Squeeze(x, a) -> y: f32[?] }"),
      IsOkAndHolds("y: f32[N,1,3]"));
  EXPECT_THAT(InferText("graph g { input x: f32[N,1,3,1]\n s: Squeeze(x) -> y: f32[?] }"),
              IsOkAndHolds("y: f32[N,3]"));
  EXPECT_THAT(InferText("graph g { const x: s64[1] = 7\n s: Squeeze(x) -> y: s64[?] }"),
              IsOkAndHolds("y: s64[] = [7]"));
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input x: f32[2,17,1,1] channels_last\n s: Squeeze(x) -> y: f32[2,17] }",
                 .tolerance = 0}));
}

TEST(SqueezeTest, OtherAxesAreRefused) {
  EXPECT_THAT(InferText("graph g { input x: f32[N,1] const a: s64[1] = 0\n s: Squeeze(x, a) -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("axis 0 of [N,1]")));
}

TEST(UnsqueezeTest, AddsAxesCountedInTheResult) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,3] const a: s64[2] = -1 1\n u: Unsqueeze(x, a) -> y: f32[?] }"),
      IsOkAndHolds("y: f32[N,1,3,1]"));
  EXPECT_THAT(
      InferText("graph g { const x: s64[] = 7 const a: s64[1] = 0\n u: Unsqueeze(x, a) -> y: s64[?] }"),
      IsOkAndHolds("y: s64[1] = [7]"));
  EXPECT_OK(RunOpCase({.graph = "graph g { input x: f32[2,17] const a: s64[1] = 0\n u: Unsqueeze(x, a) -> y: "
                                "f32[1,2,17] }",
                       .tolerance = 0}));
}

TEST(UnsqueezeTest, AnAxisTwiceIsRefused) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N] const a: s64[2] = 1 -2\n u: Unsqueeze(x, a) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("axis -2 is there twice")));
}

}  // namespace
}  // namespace hachi
