// What holds for the shapes and types that any operator infers.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/substitute.h"
#include "engine/graph/graph.h"
#include "engine/ops/op.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

// "x, x, x", so many.
std::string Repeated(const std::string& name, size_t count) {
  return absl::StrJoin(std::vector<std::string>(count, name), ", ");
}

TEST(InferTest, NoOperatorReliesOnTheRankOfItsInputs) {
  for (const OpDef* op : AllOps())
    for (const char* type : {"f32", "u8", "s64", "bool"})
      for (const char* value : {"input x: $0[]", "input x: $0[0]", "input x: $0[2]",
                                "const x: $0[] = splat 1", "const x: $0[2] = splat 1"})
        for (size_t inputs = 1; inputs <= 6; ++inputs) {
          const std::string text =
              absl::StrCat("graph g { ", absl::Substitute(value, type), " n: ", std::string(op->name), "(",
                           Repeated("x", inputs), ") -> y: f32[?] }");
          auto graph = ParseGraph(text);
          ASSERT_OK(graph.status()) << text;
          EXPECT_NE(InferNode(*graph->nodes().front()).code(), absl::StatusCode::kInternal) << text;
        }
}

}  // namespace
}  // namespace hachi
