#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

struct Row {
  std::string name;
  std::vector<std::string> types;
  std::vector<bool> results;  // for the pairs of the known answers
};

class CompareTest : public testing::TestWithParam<Row> {};

TEST_P(CompareTest, AgreesWithBroadcasting) {
  for (const std::string& type : GetParam().types)
    for (const char* b : {"[2,16,4,5]", "[16,1,1]", "[]", "[4,1]"})
      for (const int threads : {1, 2})
        EXPECT_OK(
            RunOpCase({.graph = absl::StrCat("graph g { input a: ", type, "[2,16,4,5] input b: ", type, b,
                                             "\n n: ", GetParam().name, "(a, b) -> y: bool[2,16,4,5] }"),
                       .low = type == "bool" ? 0.0 : -3.0,
                       .high = type == "bool" ? 1.0 : 3.0,
                       .tie_share = 1,
                       .kernel = "hachi_compare",
                       .threads = threads}))
            << type << b;
}

TEST_P(CompareTest, HasTheKnownAnswers) {
  const bool logic = GetParam().types.front() == "bool";
  // Integers beyond a double's digits differ.
  const char* operands =
      logic ? "const a: bool[4] = 0 0 1 1 const b: bool[4] = 0 1 0 1"
            : "const a: s64[3] = 9007199254740992 7 8 const b: s64[3] = 9007199254740993 7 5";
  const auto result = RunReferences(
      absl::StrCat("graph g { ", operands, "\n n: ", GetParam().name, "(a, b) -> y: bool[?] }"));
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<bool>(), testing::ElementsAreArray(GetParam().results));
}

TEST_P(CompareTest, OtherTypesAreRefused) {
  EXPECT_THAT(InferText(absl::StrCat("graph g { input a: u8[2] input b: u8[2]\n n: ", GetParam().name,
                                     "(a, b) -> y: bool[?] }")),
              StatusIs(absl::StatusCode::kUnimplemented, testing::HasSubstr("has type u8, expected")));
}

INSTANTIATE_TEST_SUITE_P(Members, CompareTest,
                         testing::Values(Row{"And", {"bool"}, {false, false, false, true}},
                                         Row{"Equal", {"f32", "s32", "s64", "bool"}, {false, true, false}},
                                         Row{"Greater", {"f32", "s32", "s64"}, {false, false, true}},
                                         Row{"GreaterOrEqual", {"f32", "s32", "s64"}, {false, true, true}},
                                         Row{"Less", {"f32", "s32", "s64"}, {true, false, false}},
                                         Row{"LessOrEqual", {"f32", "s32", "s64"}, {true, true, false}},
                                         Row{"Or", {"bool"}, {false, true, true, true}},
                                         Row{"Xor", {"bool"}, {false, true, true, false}}),
                         [](const auto& row) { return row.param.name; });

TEST(EqualTest, DimensionsAreComparedWhereTheirSymbolsAllowIt) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,8,M] const b: s64[3] = -1 8 4\n s: Shape(x) -> d: s64[?]\n n: "
                "Equal(d, b) -> y: bool[?] }"),
      IsOkAndHolds("y: bool[3]"));
  EXPECT_THAT(InferText("graph g { input x: f32[N,8,M] const b: s64[1] = -1\n s: Shape(x) -> d: s64[?]\n n: "
                        "Equal(d, b) -> y: bool[?] }"),
              IsOkAndHolds("y: bool[3] = [0,0,0]"));
}

TEST(NotTest, AgreesAndTurnsEach) {
  for (const char* type : {"bool[1]", "bool[2,17,5,3] channels_last", "bool[3,999]"})
    EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, "\n n: Not(x) -> y: ", type, "}"),
                         .low = 0,
                         .high = 1,
                         .tie_share = 1,
                         .kernel = "hachi_compare"}))
        << type;
  const auto result = RunReferences("graph g { const x: bool[2] = 0 1\n n: Not(x) -> y: bool[?] }");
  ASSERT_OK(result.status());
  EXPECT_THAT((*result)[0].As<bool>(), testing::ElementsAre(true, false));
}

}  // namespace
}  // namespace hachi
