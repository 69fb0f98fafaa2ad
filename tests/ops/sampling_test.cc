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

TEST(SamplingTest, GridKernelAgreesInEveryMode) {
  for (const char* mode : {"linear", "nearest", "cubic"})
    for (const char* padding : {"zeros", "border", "reflection"})
      for (const int align : {0, 1})
        EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: f32[2,3,6,7] input g: f32[2,5,9,2]\n"
                                                   " n: GridSample(x, g) {mode=\"",
                                                   mode, "\",padding_mode=\"", padding,
                                                   "\",align_corners=", align, "} -> y: f32[?] }"),
                             .kernel = "hachi_grid_sample",
                             .threads = 2}))
            << mode << padding << align;
}

TEST(SamplingTest, GridKernelReadsVolumes) {
  EXPECT_OK(RunOpCase({.graph = "graph g { input x: f32[1,2,4,5,6] input g: f32[1,3,4,5,3]\n"
                                " n: GridSample(x, g) {mode=\"cubic\"} -> y: f32[?] }",
                       .kernel = "hachi_grid_sample"}));
}

TEST(SamplingTest, RegionKernelAgreesInEveryMode) {
  for (const char* mode : {"avg", "max"})
    for (const char* coordinates : {"half_pixel", "output_half_pixel"})
      for (const int samples : {0, 2})
        EXPECT_OK(RunOpCase(
            {.graph = absl::StrCat("graph g { const x: f32[2,19,9,8] = random 1 -1 1 input r: f32[5,4] const "
                                   "b: s64[5] = 0 1 1 0 7\n"
                                   " n: RoiAlign(x, r, b) {output_height=3,output_width=2,mode=\"",
                                   mode, "\",coordinate_transformation_mode=\"", coordinates,
                                   "\",sampling_ratio=", samples, "} -> y: f32[?] }"),
             .low = -3,
             .high = 11,
             .kernel = "hachi_roi_align",
             .threads = 2,
             .reference_allocates = "it reads the mode's name"}))
            << mode << coordinates << samples;
}

}  // namespace
}  // namespace hachi
