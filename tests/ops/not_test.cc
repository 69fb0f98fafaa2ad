#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(NotTest, Agrees) {
  for (const char* type : {"bool[1]", "bool[2,17,5,3] channels_last", "bool[3,999]"})
    EXPECT_OK(RunOpCase({.graph = absl::StrCat("graph g { input x: ", type, "\n n: Not(x) -> y: ", type, "}"),
                         .low = 0,
                         .high = 1,
                         .tie_share = 1,
                         .kernel = "hachi_not"}))
        << type;
}

}  // namespace
}  // namespace hachi
