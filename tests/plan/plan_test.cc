#include "engine/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/cpu/team.h"
#include "engine/ops/op.h"
#include "engine/plan/memory.h"
#include "engine/plan/runner.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::HasSubstr;

TEST(MemoryTest, PiecesThatLiveTogetherNeverOverlap) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<Lifetime> pieces;
    for (int i = 0; i < 40; ++i) {
      const int first = static_cast<int>(random() % 50);
      pieces.push_back({random() % 5000, first, first + static_cast<int>(random() % 10)});
    }
    const MemoryLayout layout = LayOut(pieces);
    for (size_t a = 0; a < pieces.size(); ++a) {
      EXPECT_EQ(layout.offsets[a] % 64, 0);
      EXPECT_LE(layout.offsets[a] + pieces[a].bytes, layout.arena_bytes);
      for (size_t b = 0; b < a; ++b) {
        if (pieces[a].last < pieces[b].first || pieces[b].last < pieces[a].first) continue;
        EXPECT_TRUE(layout.offsets[a] + pieces[a].bytes <= layout.offsets[b] ||
                    layout.offsets[b] + pieces[b].bytes <= layout.offsets[a]);
      }
    }
  }
}

TEST(MemoryTest, ChainNeedsRoomForItsTwoLargestNeighbours) {
  const std::vector<Lifetime> chain = {{640, 0, 1}, {1280, 1, 2}, {640, 2, 3}, {64, 3, 4}};
  EXPECT_EQ(LayOut(chain).arena_bytes, 1920);
}

// What the rule says, written down plainly: by size, each in the lowest gap among those that live with it.
size_t PlainArena(const std::vector<Lifetime>& pieces) {
  const auto align = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
  std::vector<size_t> order(pieces.size()), offsets(pieces.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return pieces[a].bytes > pieces[b].bytes; });
  size_t arena = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const Lifetime& piece = pieces[order[i]];
    size_t& offset = offsets[order[i]];
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t k = 0; k < i; ++k) {
        const Lifetime& other = pieces[order[k]];
        const size_t begin = offsets[order[k]], end = begin + other.bytes;
        if (other.last < piece.first || piece.last < other.first || offset + piece.bytes <= begin ||
            end <= offset)
          continue;
        offset = align(end);
        moved = true;
      }
    }
    arena = std::max(arena, align(offset + piece.bytes));
  }
  return arena;
}

TEST(MemoryTest, PiecesLieWhereTheRuleSays) {
  std::mt19937 random(2);
  for (int round = 0; round < 100; ++round) {
    std::vector<Lifetime> pieces;
    for (int i = 0; i < 60; ++i) {
      const int first = static_cast<int>(random() % 40) - 1;
      pieces.push_back({1 + random() % 3000, first, first + static_cast<int>(random() % 20)});
    }
    EXPECT_EQ(LayOut(pieces).arena_bytes, PlainArena(pieces)) << round;
  }
}

TEST(MemoryTest, LongChainsAreLaidOutInSeconds) {
  std::vector<Lifetime> pieces;
  for (int i = 0; i < 200'000; ++i) pieces.push_back({static_cast<size_t>(64 + i % 7 * 64), i - 1, i});
  const absl::Time start = absl::Now();
  EXPECT_LE(LayOut(pieces).arena_bytes, 2 * 448);
  EXPECT_LT(absl::ToDoubleSeconds(absl::Now() - start), 5);
}

// Types and shapes inferred, ready to plan.
Graph Inferred(std::string_view text) {
  auto graph = ParseGraph(text);
  EXPECT_OK(graph);
  for (const auto& node : graph->nodes()) EXPECT_OK(InferNode(*node));
  return *std::move(graph);
}

std::shared_ptr<const Plan> PlanOf(const Graph& graph, const Bindings& bindings = {{"N", 2}}) {
  WeightCache weights;
  auto plan = Plan::Create(graph, bindings, weights);
  EXPECT_OK(plan);
  return *plan;
}

// The f32 outputs after a run on inputs that count up from 0.
std::vector<std::vector<float>> RunOn(PlanRunner& runner, const std::shared_ptr<const Plan>& plan) {
  BoundPlan& bound = runner.Bind(plan);
  for (size_t i = 0; i < plan->inputs().size(); ++i)
    for (int64_t k = 0; k < plan->inputs()[i].spec.count(); ++k)
      reinterpret_cast<float*>(bound.Input(i))[k] = static_cast<float>(k);
  EXPECT_OK(bound.Run(runner.stream()));
  std::vector<std::vector<float>> outputs;
  for (const Place& place : plan->outputs()) {
    const auto* values = reinterpret_cast<const float*>(bound.At(place));
    outputs.emplace_back(values, values + place.spec.count());
  }
  return outputs;
}

constexpr char kResidual[] = R"(graph g {
  input x: f32[N,1,1,2] channels_last
  const w: f32[1,1,1,1] = 10
  first: Conv(x, w) -> a: f32[N,1,1,2] channels_last
  second: Conv(a, w, _, a) post add(3) -> b: f32[N,1,1,2] channels_last
  third: Conv(x, w, _, b) post add(3) -> c: f32[N,1,1,2] channels_last
  output c = c
})";

TEST(PlanTest, ResidualIsUpdatedInPlaceAtItsLastUseAndCopiedElsewhere) {
  SetTeam(1);
  const Graph graph = Inferred(kResidual);
  const auto plan = PlanOf(graph);
  // `second` reads a through both inputs: it cannot overwrite what it still reads.
  EXPECT_EQ(plan->steps()[1].copied_input, 3);
  EXPECT_EQ(plan->steps()[2].copied_input, -1);
  EXPECT_EQ(plan->steps()[2].outputs[0].offset, plan->steps()[1].outputs[0].offset);
  EXPECT_THAT(plan->ToText(), HasSubstr("copies=a"));
  PlanRunner runner;
  // 100x + 10x, then 10x + that.
  EXPECT_THAT(RunOn(runner, plan)[0], testing::ElementsAre(0, 120, 240, 360));
}

TEST(PlanTest, ViewsTakeNoMemoryAndNoTime) {
  const Graph graph = Inferred(R"(graph g {
  input x: f32[N,3,1,2]
  flatten: Flatten(x) -> a: f32[?]
  relu: Relu(a) -> b: f32[?]
  output a = a
  output b = b
})");
  const auto plan = PlanOf(graph);
  EXPECT_TRUE(plan->steps()[0].step->info().view);
  EXPECT_EQ(plan->outputs()[0].offset, plan->inputs()[0].offset);
  PlanRunner runner;
  EXPECT_EQ(RunOn(runner, plan)[1].back(), 11);
}

TEST(PlanTest, ConstantMayBeAnOutput) {
  const Graph graph = Inferred("graph g { input x: f32[N] const c: f32[2] = 5 6 output y = c output x = x }");
  PlanRunner runner;
  EXPECT_THAT(RunOn(runner, PlanOf(graph))[0], testing::ElementsAre(5, 6));
}

TEST(PlanTest, LargeProductWithoutAFastKernelIsNoPlan) {
  const char* text = R"(graph g {
  input x: f32[N,8,64,64]
  input w: f32[8,8,3,3]
  conv: Conv(x, w) {pads=[1,1,1,1]} -> y: f32[?]
  output y = y
})";
  const Graph graph = Inferred(text);
  WeightCache weights;
  EXPECT_OK(Plan::Create(graph, {{"N", 1}}, weights));
  EXPECT_THAT(
      Plan::Create(graph, {{"N", 100}}, weights),
      StatusIs(
          absl::StatusCode::kUnimplemented,
          HasSubstr("node 'conv' (Conv): no fast kernel for its 235929600 multiply-adds, expected one: ")));
}

TEST(PlanTest, WhatOnlyComputedAShapeIsNotRun) {
  const Graph graph = Inferred(R"(graph g {
  input x: f32[N,2,3]
  const zero: s64[1] = 0
  const rest: s64[1] = -1
  s: Shape(x) -> s: s64[?]
  g: Gather(s, zero) -> n: s64[?]
  c: Concat(n, rest) {axis=0} -> c: s64[?]
  r: Reshape(x, c) -> y: f32[?]
  output y = y
})");
  EXPECT_EQ(PlanOf(graph)->steps().size(), 1);
}

TEST(PlanTest, PackedWeightsAreSharedByPlansOfAllSizes) {
  const Graph graph = Inferred(kResidual);
  WeightCache weights;
  for (const int64_t n : {1, 2, 8}) ASSERT_OK(Plan::Create(graph, {{"N", n}}, weights));
  EXPECT_EQ(weights.extra_copies(), 0);
}

TEST(PlanTest, SquareWeightsMayBeReadBothWays) {
  const Graph graph = Inferred(R"(graph g {
  input x: f32[N,2]
  const w: f32[2,2] = 1 2 3 4
  straight: Gemm(x, w) -> y: f32[?]
  turned: Gemm(x, w) {transB=1} -> z: f32[?]
  output y = y
  output z = z
})");
  PlanRunner runner;
  const auto outputs = RunOn(runner, PlanOf(graph));
  EXPECT_THAT(outputs[0], testing::ElementsAre(3, 4, 11, 16));
  EXPECT_THAT(outputs[1], testing::ElementsAre(2, 4, 8, 18));
}

TEST(PlanRunnerTest, LargerPlanMovesTheArenaAndSmallerOnesFollow) {
  const Graph graph = Inferred(kResidual);
  const auto small = PlanOf(graph, {{"N", 1}}), large = PlanOf(graph, {{"N", 64}});
  PlanRunner runner;
  RunOn(runner, small);
  RunOn(runner, large);
  EXPECT_THAT(RunOn(runner, small)[0], testing::ElementsAre(0, 120));
}

}  // namespace
}  // namespace hachi
