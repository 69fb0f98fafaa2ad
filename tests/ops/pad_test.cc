#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::ElementsAre;

TEST(PadTest, EveryModeAgreesInEveryLayout) {
  for (const char* mode : {"constant", "reflect", "edge", "wrap"})
    for (const char* layout : {"", " channels_last"})
      for (const auto& [pads, dims] :
           {std::pair("0 0 2 1 0 0 1 3", "9,9"), std::pair("0 0 0 0 0 0 0 2", "6,7"),
            std::pair("0 0 -1 2 0 0 1 -2", "6,5")})
        EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: f32[2,3,6,5]", layout,
                                                   " const p: s64[8] = ", pads, "\n n: Pad(x, p) {mode=\"",
                                                   mode, "\"} -> y: f32[2,3,", dims, "]", layout, " }"),
                             .tolerance = 0,
                             .kernel = "hachi_mapped_copy",
                             .reference_allocates = "it lists where each axis comes from"}))
            << mode << layout << pads;
}

TEST(PadTest, IntegersAreFilledWithWhatStandsForTheValue) {
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input x: u8[2,3,4,4] quant(0.5:7) const p: s64[8] = 0 0 1 1 0 0 1 1\n"
                          " n: Pad(x, p) -> y: u8[2,3,6,6] quant(0.5:7) }",
                 .kernel = "hachi_mapped_copy",
                 .reference_allocates = "it lists where each axis comes from"}));
}

TEST(PadTest, HasKnownAnswers) {
  const auto padded = [](const char* mode) {
    auto result = RunReferences(
        absl::StrCat("graph g { const x: f32[3] = 1 2 3 const p: s64[2] = 2 4\n n: Pad(x, p) {mode=\"", mode,
                     "\"} -> y: f32[?] }"));
    EXPECT_OK(result.status());
    const auto elements = (*result)[0].As<float>();
    return std::vector<float>(elements.begin(), elements.end());
  };
  EXPECT_THAT(padded("constant"), ElementsAre(0, 0, 1, 2, 3, 0, 0, 0, 0));
  EXPECT_THAT(padded("edge"), ElementsAre(1, 1, 1, 2, 3, 3, 3, 3, 3));
  EXPECT_THAT(padded("reflect"), ElementsAre(3, 2, 1, 2, 3, 2, 1, 2, 3));
  EXPECT_THAT(padded("wrap"), ElementsAre(2, 3, 1, 2, 3, 1, 2, 3, 1));
}

TEST(PadTest, FreeDimensionsGrow) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[N,L] const p: s64[4] = 0 1 0 2\n n: Pad(x, p) -> y: f32[?] }"),
      IsOkAndHolds("y: f32[N,L+3]"));
}

}  // namespace
}  // namespace hachi
