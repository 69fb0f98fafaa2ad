#include "engine/decide/adopt_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsNull;
using testing::NotNull;

constexpr char kGraph[] = R"(graph g {
  input x: f32[N,2,4,4]
  const w: f32[2,2,1,1] = 1 2 3 4
  const low: f32[] = 0
  const below: f32[] = -1
  conv1: Conv(x, w) -> a: f32[N,2,4,4]
  relu: Relu(a) -> b: f32[N,2,4,4]
  pool: MaxPool(b) {kernel_shape=[1,1]} -> p: f32[N,2,4,4]
  conv2: Conv(p, w) -> c: f32[N,2,4,4]
  clip: Clip(c, low, _) -> d: f32[N,2,4,4]
  sum: Add(p, d) -> e: f32[N,2,4,4]
  clip2: Clip(e, below, _) -> f: f32[N,2,4,4]
  output y = f
}
)";

ForeignTable TableOf(const std::map<std::string, float>& magnitudes) {
  ForeignTable table = {.tool = "a tool", .only_magnitudes = true};
  for (const auto& [name, magnitude] : magnitudes) table.ranges[name] = {-magnitude, magnitude};
  return table;
}

TEST(AdoptTableTest, ListsWhatMatchedWhatDidNotAndWhatIsMissing) {
  const auto graph = ParseGraph(kGraph);
  ASSERT_OK(graph);
  const auto adopted = AdoptTable(TableOf({{"x", 1}, {"a", 2}, {"w", 3}, {"(Unnamed Layer* 3)", 4}}), *graph);
  ASSERT_OK(adopted);
  EXPECT_EQ(adopted->report.tool, "a tool");
  EXPECT_THAT(adopted->report.matched, ElementsAre("a", "x"));
  EXPECT_THAT(adopted->report.unmatched, ElementsAre("(Unnamed Layer* 3)", "w"));
  EXPECT_THAT(adopted->report.missing, ElementsAre("b", "c", "d", "e", "f", "p"));
  EXPECT_THAT(adopted->table.Find("a"), IsOkAndHolds(NotNull()));
  EXPECT_THAT(adopted->table.Find("b"), IsOkAndHolds(IsNull()));
}

TEST(AdoptTableTest, MagnitudesOfWhatIsNeverNegativeReachFromZero) {
  const auto graph = ParseGraph(kGraph);
  ASSERT_OK(graph);
  const std::map<std::string, float> all = {{"x", 1}, {"a", 1}, {"b", 1}, {"p", 1},
                                            {"c", 1}, {"d", 1}, {"e", 1}, {"f", 1}};
  auto adopted = AdoptTable(TableOf(all), *graph);
  ASSERT_OK(adopted);
  std::string from_zero;
  for (const auto& [name, entry] : adopted->table.tensors())
    if (entry.stats.min() == 0) from_zero += name;
  EXPECT_EQ(from_zero, "bdep");

  ForeignTable ranges = TableOf(all);
  ranges.only_magnitudes = false;
  adopted = AdoptTable(ranges, *graph);
  ASSERT_OK(adopted);
  EXPECT_EQ(adopted->table.tensors().at("b").stats.min(), -1);
}

TEST(AdoptTableTest, LayersHaveTheRangeOfTheirFirstInput) {
  const auto graph = ParseGraph(kGraph);
  ASSERT_OK(graph);
  // A node's name, one's that reads the same tensor, a node known by its output, and one that is neither.
  ForeignTable table = TableOf({{"conv2", 2}, {"sum", 5}, {"b", 3}, {"conv9", 1}});
  table.names_layers = true;
  const auto adopted = AdoptTable(table, *graph);
  ASSERT_OK(adopted);
  EXPECT_THAT(adopted->report.matched, ElementsAre("b", "conv2", "sum"));
  EXPECT_THAT(adopted->report.unmatched, ElementsAre("conv9"));
  EXPECT_EQ(adopted->table.tensors().size(), 2u);
  EXPECT_EQ(adopted->table.tensors().at("p").stats.max(), 5);
  EXPECT_EQ(adopted->table.tensors().at("a").stats.min(), -3);
}

TEST(AdoptTableTest, TableWithoutATensorOfTheModelIsRefused) {
  const auto graph = ParseGraph(kGraph);
  ASSERT_OK(graph);
  EXPECT_THAT(
      AdoptTable(TableOf({{"other", 1}}), *graph),
      StatusIs(absl::StatusCode::kFailedPrecondition, AllOf(HasSubstr("a tool"), HasSubstr("'other'"))));
}

}  // namespace
}  // namespace hachi
