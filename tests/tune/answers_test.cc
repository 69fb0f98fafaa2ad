#include "engine/tune/answers.h"

#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <array>

#include "tests/support/fake_model.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

absl::Duration CpuTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

void Spin(absl::Duration time) {
  for (const absl::Duration until = CpuTime() + time; CpuTime() < until;) {
  }
}

// A machine that gets slower with every run, on which one model takes half the time of another.
TEST(RatesTest, MachineThatChangesItsSpeedMeetsAllModelsAlike) {
  absl::Duration unit = absl::Microseconds(20);
  FakeModel fast, slow;
  fast.set_work([&] { Spin(unit *= 1.02); });
  slow.set_work([&] { Spin(2 * (unit *= 1.02)); });
  std::array<std::byte, 16> bytes{};
  const std::array rows = {GoldenRow{.shapes = {{4}}, .inputs = {bytes}}};
  const std::array<const Model*, 2> models = {&fast, &slow};
  const auto rates = RatesOf(models, rows, {}, absl::Milliseconds(10));
  ASSERT_OK(rates);
  std::vector<double> ratios;
  for (const std::vector<double>& round : *rates) ratios.push_back(round[0] / round[1]);
  std::ranges::sort(ratios);
  EXPECT_NEAR(ratios[ratios.size() / 2], 2, 0.5);
  EXPECT_GT(rates->front()[0], 2 * rates->back()[0]);
}

// Rows that take longer than others are no advantage for the model that did not meet them.
TEST(RatesTest, ModelsRunTheSameRowsInARound) {
  FakeModel first, second;
  std::array<std::byte, 16> bytes{};
  const std::array rows = {GoldenRow{.shapes = {{4}}, .inputs = {bytes}}};
  const std::array<const Model*, 2> models = {&first, &second};
  ASSERT_OK(RatesOf(models, rows, {}, absl::Milliseconds(1)));
  EXPECT_EQ(first.rows_computed(), second.rows_computed());
}

TEST(RatesTest, FailureOfOneWorkerEndsAll) {
  FakeModel model;
  model.FailWith(absl::InternalError("it broke"));
  std::array<std::byte, 16> bytes{};
  const std::array rows = {GoldenRow{.shapes = {{4}}, .inputs = {bytes}}};
  const Model* const models = &model;
  EXPECT_THAT(RatesOf({&models, 1}, rows, {.workers = 2}, absl::Milliseconds(1)),
              StatusIs(absl::StatusCode::kInternal, "it broke"));
}

}  // namespace
}  // namespace hachi
