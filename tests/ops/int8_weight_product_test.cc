#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(Int8WeightProductTest, KernelAgreesForRowsAndColumnsOfEveryNumber) {
  for (const int rows : {1, 3, 9})
    for (const int columns : {1, 16, 70})
      for (const char* bias : {"", ", b"})
        EXPECT_OK(RunOpCase(
            {.graph = absl::StrCat("graph g { input x: f32[2,", rows, ",37] const w: s8[37,", columns,
                                   "] quant(0.02:0) = random 1 -127 127 const b: f32[", columns,
                                   "] = random 2 -1 1\n p: Int8WeightProduct(x, w", bias, ") -> y: f32[?] }"),
             .kernel = "hachi_weight_panels",
             .threads = 2}))
            << rows << " " << columns << bias;
}

TEST(Int8WeightProductTest, EachColumnHasItsScale) {
  EXPECT_OK(
      RunOpCase({.graph = "graph g { input x: f32[5,4] const w: s8[4,3] quant(axis=1,0.5:0,0.1:0,2:0) = "
                          "random 1 -127 127\n p: Int8WeightProduct(x, w) -> y: f32[?] }",
                 .kernel = "hachi_weight_panels"}));
}

}  // namespace
}  // namespace hachi
