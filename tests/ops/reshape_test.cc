#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

absl::StatusOr<std::string> Infer(std::string x, std::string shape, std::string attrs = "") {
  return InferText(absl::StrCat("graph g { input x: ", x, " const s: s64", shape, "\n r: Reshape(x, s)",
                                attrs, " -> y: f32[?] }"));
}

TEST(ReshapeTest, KeepsRowMajorOrderWhateverTheLayout) {
  for (const char* x : {"f32[2,3,4,5]", "f32[2,3,4,5] channels_last", "f32[120]"})
    EXPECT_OK(
        RunOpCase({.graph = absl::StrCat("graph g { input x: ", x,
                                         " const s: s64[3] = 4 -1 3\n r: Reshape(x, s) -> y: f32[4,10,3] }"),
                   .tolerance = 0}))
        << x;
}

TEST(ReshapeTest, SymbolsStayAndMinusOneIsWhatIsLeft) {
  EXPECT_THAT(Infer("u8[N,3,4] quant(0.5:1)", "[2] = -1 12"), IsOkAndHolds("y: u8[N,12] quant(0.5:1)"));
  EXPECT_THAT(Infer("f32[N,3,4]", "[2] = 0 -1"), IsOkAndHolds("y: f32[N,12]"));
  EXPECT_THAT(Infer("f32[N,S,768]", "[4] = 0 0 12 64"), IsOkAndHolds("y: f32[N,S,12,64]"));
  EXPECT_THAT(Infer("f32[0,3]", "[2] = 3 0", "{allowzero=1}"), IsOkAndHolds("y: f32[3,0]"));
  EXPECT_THAT(Infer("f32[1]", "[0] ="), IsOkAndHolds("y: f32[]"));
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
  EXPECT_THAT(Infer("f32[N,3]", "[2] = -1 -1").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("at most one -1")));
  EXPECT_THAT(Infer("f32[2,3]", "[2] = 5 -1").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("divides the elements of [2,3]")));
  EXPECT_THAT(Infer("f32[2,3]", "[2] = 2 4").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("as many elements as [2,3]")));
  EXPECT_THAT(
      InferText("graph g { input x: f32[2] input s: s64[1]\n r: Reshape(x, s) -> y: f32[?] }").status(),
      StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("the shape 's' is computed")));
}

}  // namespace
}  // namespace hachi
