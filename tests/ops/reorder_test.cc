#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

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

}  // namespace
}  // namespace hachi
