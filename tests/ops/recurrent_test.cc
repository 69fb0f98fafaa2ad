#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

std::string Graph(const char* op, const char* attrs, const char* inputs, int gates, int directions) {
  return absl::StrCat("graph g { input x: f32[5,3,7] const w: f32[", directions, ",", gates * 6,
                      ",7] = random 1 -1 1 const r: f32[", directions, ",", gates * 6,
                      ",6] = random 2 -1 1 const b: f32[", directions, ",", gates * 12,
                      "] = random 3 -1 1 input h: f32[", directions, ",3,6] input c: f32[", directions,
                      ",3,6]\n n: ", op, "(x, w, r, ", inputs, ") {", attrs, "} -> y: f32[?], yh: f32[?] }");
}

TEST(RecurrentTest, EveryCellAgreesInEveryDirection) {
  const struct {
    const char* op;
    const char* inputs;
    int gates;
  } cells[] = {{"RNN", "b, _, h", 1}, {"GRU", "b, _, h", 3}, {"LSTM", "b, _, h, c", 4}, {"LSTM", "_", 4}};
  for (const auto& cell : cells)
    for (const char* direction : {"forward", "reverse", "bidirectional"})
      for (const int threads : {1, 2})
        EXPECT_OK(RunOpCase(
            {.graph = Graph(cell.op, absl::StrCat("direction=\"", direction, "\",hidden_size=6").c_str(),
                            cell.inputs, cell.gates, direction[0] == 'b' ? 2 : 1),
             .tolerance = 1e-5,
             .kernel = "hachi_recurrent",
             .threads = threads,
             .reference_allocates = "it keeps a row's states"}))
            << cell.op << direction;
}

TEST(RecurrentTest, GruResetsBehindTheProductWhereAsked) {
  EXPECT_OK(RunOpCase({.graph = Graph("GRU", "linear_before_reset=1", "b, _, h", 3, 1),
                       .tolerance = 1e-5,
                       .kernel = "hachi_recurrent",
                       .reference_allocates = "it keeps a row's states"}));
}

TEST(RecurrentTest, ProductsMayBeOfIntegers) {
  if (!SumsBytesExactly()) GTEST_SKIP() << "the kernel needs VNNI";
  const struct {
    const char* op;
    const char* inputs;
    int gates;
  } cells[] = {{"RNN", "b, _, h", 1}, {"GRU", "b, _, h", 3}, {"LSTM", "b, _, h, c", 4}};
  for (const auto& cell : cells)
    EXPECT_OK(RunOpCase({.graph = Graph(cell.op, "direction=\"bidirectional\",hidden_size=6,int8=1",
                                        cell.inputs, cell.gates, 2),
                         .tolerance = 0.02,  // where one element is rounded the other way
                         .kernel = "hachi_recurrent",
                         .threads = 2,
                         .reference_allocates = "it keeps a row's states"}))
        << cell.op;
}

TEST(RecurrentTest, ShapesHaveToFit) {
  EXPECT_THAT(
      InferText(
          "graph g { input x: f32[5,3,7] const w: f32[1,24,8] = splat 0 const r: f32[1,24,6] = splat 0\n"
          " n: LSTM(x, w, r) -> y: f32[?] }"),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("W has shape [1,24,8], expected [1,24,7]")));
}

}  // namespace
}  // namespace hachi
