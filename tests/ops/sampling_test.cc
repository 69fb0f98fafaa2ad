#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::ElementsAre;

std::vector<float> Floats(const char* graph) {
  auto result = RunReferences(graph);
  EXPECT_OK(result.status());
  const auto elements = (*result)[0].As<float>();
  return {elements.begin(), elements.end()};
}

TEST(SamplingTest, GridsReadBetweenPixels) {
  EXPECT_THAT(Floats("graph g { const x: f32[1,1,2,2] = 1 2 3 4 const g: f32[1,1,3,2] = 0 0 -1 -1 5 5\n"
                     " n: GridSample(x, g) {align_corners=1} -> y: f32[?] }"),
              ElementsAre(2.5f, 1, 0));
}

TEST(SamplingTest, RegionsArePooled) {
  EXPECT_THAT(
      Floats("graph g { const x: f32[1,1,2,2] = 1 2 3 4 const r: f32[1,4] = 0 0 2 2 const b: s64[1] = 0\n"
             " n: RoiAlign(x, r, b) {sampling_ratio=1} -> y: f32[?] }"),
      ElementsAre(2.5f));
}

TEST(SamplingTest, MaximaGoBackWhereTheyWere) {
  EXPECT_THAT(Floats("graph g { const x: f32[1,1,1,2] = 7 8 const i: s64[1,1,1,2] = 5 2\n"
                     " n: MaxUnpool(x, i) {kernel_shape=[2,2],strides=[2,2]} -> y: f32[?] }"),
              ElementsAre(0, 0, 8, 0, 0, 7, 0, 0));
}

TEST(SamplingTest, SequencesAreReversedUpToTheirLength) {
  EXPECT_THAT(Floats("graph g { const x: f32[2,3] = 1 2 3 4 5 6 const l: s64[2] = 2 3\n"
                     " n: ReverseSequence(x, l) {batch_axis=0,time_axis=1} -> y: f32[?] }"),
              ElementsAre(2, 1, 3, 6, 5, 4));
}

TEST(SamplingTest, DeterminantsAreTakenOfEachMatrix) {
  EXPECT_THAT(Floats("graph g { const x: f32[2,2,2] = 1 2 3 4 0 1 1 0\n n: Det(x) -> y: f32[?] }"),
              ElementsAre(-2, -1));
}

}  // namespace
}  // namespace hachi
