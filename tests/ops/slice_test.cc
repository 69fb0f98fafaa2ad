#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(SliceTest, CutsInEveryDirectionAndLayout) {
  for (const char* layout : {"", " channels_last"})
    for (const char* cut :
         {"0 1 : 2 17 : 0 1 : 1 2", "-1 -4 : 0 99 : 3 1 : -1 5", "1 0 : -1 -1 : 2 1 : 2 1"}) {
      std::vector<std::string> lists;
      for (std::string rest = cut;;) {
        const size_t colon = rest.find(" : ");
        lists.push_back(rest.substr(0, colon));
        if (colon == std::string::npos) break;
        rest = rest.substr(colon + 3);
      }
      EXPECT_OK(RunOpCase({.graph = absl::StrCat(
                               "graph g { input x: f32[3,17,5,6]", layout, " const s: s64[2] = ", lists[0],
                               " const e: s64[2] = ", lists[1], " const a: s64[2] = ", lists[2],
                               " const t: s64[2] = ", lists[3], "\n s: Slice(x, s, e, a, t) -> y: f32[?] }"),
                           .tolerance = 0,
                           .kernel = "hachi_copy"}))
          << cut << layout;
    }
}

absl::StatusOr<std::string> Infer(std::string x, std::string start, std::string end, std::string step = "1") {
  return InferText(absl::StrCat("graph g { input x: ", x, " const s: s64[1] = ", start,
                                " const e: s64[1] = ", end, " const a: s64[1] = -1 const t: s64[1] = ", step,
                                "\n s: Slice(x, s, e, a, t) -> y: f32[?] }"));
}

TEST(SliceTest, SizesAreThoseThatNumPyGives) {
  EXPECT_THAT(Infer("f32[N,9]", "2", "7", "2"), IsOkAndHolds("y: f32[N,3]"));
  EXPECT_THAT(Infer("f32[N,9]", "-3", "9223372036854775807"), IsOkAndHolds("y: f32[N,3]"));
  EXPECT_THAT(Infer("f32[N,9]", "7", "2"), IsOkAndHolds("y: f32[N,0]"));
  EXPECT_THAT(Infer("f32[N,9]", "8", "-9223372036854775808", "-1"), IsOkAndHolds("y: f32[N,9]"));
  EXPECT_THAT(Infer("u8[9] quant(0.5:1)", "-99", "99"), IsOkAndHolds("y: u8[9] quant(0.5:1)"));
}

TEST(SliceTest, SymbolicSizesAreCutFromEitherEnd) {
  EXPECT_THAT(Infer("f32[N,S]", "1", "9223372036854775807"), IsOkAndHolds("y: f32[N,S-1]"));
  EXPECT_THAT(Infer("f32[N,S]", "0", "-1"), IsOkAndHolds("y: f32[N,S-1]"));
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[N,S] const p: s64[1,512] = splat 1 const z: s64[1] = 0 const o: s64[1] "
          "= 1\n s: Shape(x) {start=1} -> e: s64[?]\n s2: Slice(p, z, e, o) -> y: s64[?] }"),
      IsOkAndHolds("y: s64[1,S]"));
}

TEST(SliceTest, ContentIsCut) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,3,S] const s: s64[1] = -1 const e: s64[1] = -9 const a: s64[1] = 0 "
                "const t: s64[1] = -2\n d: Shape(x) -> d: s64[?]\n s: Slice(d, s, e, a, t) -> y: s64[?] }"),
      IsOkAndHolds("y: s64[2] = [S,N]"));
}

TEST(SliceTest, ContradictionsAreRefused) {
  using testing::HasSubstr;
  EXPECT_THAT(Infer("f32[N,9]", "0", "1", "0").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a step is 0")));
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[9] const s: s64[1] = 0 const e: s64[2] = 1 2\n s: Slice(x, s, e) -> y: "
          "f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 starts, 2 ends")));
  EXPECT_THAT(
      InferText("graph g { input x: f32[9] input s: s64[1] const e: s64[1] = 1\n s: Slice(x, s, e) -> y: "
                "f32[?] }"),
      StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("starts or ends are computed")));
}

}  // namespace
}  // namespace hachi
