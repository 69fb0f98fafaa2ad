#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

std::string GraphText(const std::string& type, int channels) {
  const std::string c = absl::StrCat(": f32[", channels, "] = random ");
  return absl::StrCat("graph g { input x: ", type, " const s", c, "1 0.5 2\n const b", c, "2 -1 1\n const m",
                      c, "3 -1 1\n const v", c,
                      "4 0.1 2\n n: BatchNormalization(x, s, b, m, v) {epsilon=0.001} -> y: ", type, "}");
}

TEST(BatchNormalizationTest, AgreesInEveryLayout) {
  for (const int channels : {1, 16, 17})
    for (const char* rest : {"]", ",7]", ",5,3]", ",1,1]", ",2,3,4]"})
      for (const char* layout : {"", " channels_last"})
        EXPECT_OK(RunOpCase({.graph = GraphText(absl::StrCat("f32[2,", channels, rest, layout), channels),
                             .kernel = "hachi_scale_shift"}))
            << channels << rest << layout;
  EXPECT_OK(RunOpCase({.graph = GraphText("f32[2,64,56,56] channels_last", 64), .threads = 2}));
}

TEST(BatchNormalizationTest, ContradictionsAreRefused) {
  EXPECT_THAT(InferText(GraphText("f32[2,17,3]", 16)),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("[16], expected [17]")));
}

}  // namespace
}  // namespace hachi
