#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/ops/op.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(GatherTest, PicksAlongEveryAxis) {
  for (const int axis : {0, 1, -1})
    for (const char* indices : {"s64[4]", "s32[2,3]", "s64[]"})
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { const x: f32[5,6,7] = random 1 -1 1\n input i: ", indices,
                                 "\n g: Gather(x, i) {axis=", axis, "} -> y: f32[?] }"),
           .low = -5,
           .high = 4,
           .tolerance = 0,
           .kernel = "hachi_gather"}))
          << axis << indices;
}

TEST(GatherTest, AnIndexOutOfRangeIsAnErrorByDefinition) {
  EXPECT_THAT(
      RunReferences("graph g { const x: f32[5,6] = random 1 -1 1 const i: s64[2] = 0 5\n g: Gather(x, i) -> "
                    "y: f32[?] }")
          .status(),
      StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("an index is 5, expected -5 to 4")));
}

TEST(GatherTest, AnIndexOutOfRangePicksNanInARun) {
  auto graph = ParseGraph("graph g { input x: f32[0,1] input i: s64[1]\n g: Gather(x, i) -> y: f32[?] }");
  ASSERT_OK(graph);
  Node& node = *graph->nodes().front();
  ASSERT_OK(InferNode(node));
  for (const char* kernel : {"hachi_gather", "ref"}) {
    WeightCache weights;
    const auto step =
        LowerNode({.node = node, .bindings = {}, .threads = 1, .weights = weights, .kernel = kernel});
    ASSERT_OK(step);
    const int64_t index = 0;
    float picked = 1;
    Stream stream;
    const auto state = (*step)->Bind({.inputs = {nullptr, reinterpret_cast<const std::byte*>(&index)},
                                      .outputs = {reinterpret_cast<std::byte*>(&picked)}});
    EXPECT_OK((*step)->Run(*state, stream));
    EXPECT_TRUE(std::isnan(picked)) << kernel;
  }
}

TEST(GatherTest, DimensionsArePicked) {
  const auto infer = [](const char* index) {
    return InferText(absl::StrCat("graph g { input x: f32[N,3,S] const i: ", index,
                                  "\n s: Shape(x) -> d: s64[?]\n g: Gather(d, i) -> y: s64[?] }"));
  };
  EXPECT_THAT(infer("s64[] = -1"), IsOkAndHolds("y: s64[] = [S]"));
  EXPECT_THAT(infer("s64[2] = 1 0"), IsOkAndHolds("y: s64[2] = [3,N]"));
  EXPECT_THAT(infer("s64[1] = 3").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("an index is 3")));
  EXPECT_THAT(
      InferText("graph g { input x: u8[9,4] quant(0.5:3) input i: s64[N,S]\n g: Gather(x, i) -> y: f32[?] }"),
      IsOkAndHolds("y: u8[N,S,4] quant(0.5:3)"));
}

}  // namespace
}  // namespace hachi
