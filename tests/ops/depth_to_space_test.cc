#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

TEST(DepthToSpaceTest, AgreesInEveryModeAndLayout) {
  for (const auto& [op, dims] : {std::pair("DepthToSpace(x) {blocksize=2", "2,2,8,12"),
                                 std::pair("DepthToSpace(x) {blocksize=2,mode=\"CRD\"", "2,2,8,12"),
                                 std::pair("SpaceToDepth(x) {blocksize=2", "2,32,2,3")})
    for (const char* layout : {"", " channels_last"})
      EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: f32[2,8,4,6]", layout, "\n n: ", op,
                                                 "} -> y: f32[", dims, "]", layout, " }"),
                           .tolerance = 0,
                           .kernel = "hachi_copy"}))
          << op << layout;
}

TEST(DepthToSpaceTest, ChannelsHaveToBeWholeBlocks) {
  EXPECT_THAT(
      InferText("graph g { input x: f32[2,6,4,6]\n n: DepthToSpace(x) {blocksize=2} -> y: f32[?] }"),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("a dimension is 6, expected a multiple of 4")));
}

}  // namespace
}  // namespace hachi
