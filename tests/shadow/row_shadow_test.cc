#include "server/shadow/row_shadow.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <string>
#include <vector>

#include "server/metrics/metrics.h"
#include "tests/support/fake_model.h"

namespace hachi::server {
namespace {

// Answers (1, 2), and notes the rows that it was asked for.
class FakeShadow final : public ShadowModel {
 public:
  struct Log {
    Mutex mutex;
    CondVar changed;
    std::vector<float> rows ABSL_GUARDED_BY(mutex);  // the first value of each
    bool is_blocked ABSL_GUARDED_BY(mutex) = false;
    int policy ABSL_GUARDED_BY(mutex) = -1;  // of the thread that runs them

    void WaitForRows(size_t count) {
      MutexLock lock(mutex);
      while (rows.size() < count) changed.Wait(mutex);
    }
    void SetBlocked(bool blocked) {
      MutexLock lock(mutex);
      is_blocked = blocked;
      changed.NotifyAll();
    }
  };

  FakeShadow(Log& log, absl::Status status) : log_(log), status_(std::move(status)) {}

  absl::StatusOr<std::vector<Tensor>> Run(const std::map<std::string, Tensor>& row) override {
    MutexLock lock(log_.mutex);
    log_.rows.push_back(row.at("x").As<float>()[0]);
    log_.policy = sched_getscheduler(0);
    log_.changed.NotifyAll();
    while (log_.is_blocked) log_.changed.Wait(log_.mutex);
    if (!status_.ok()) return status_;
    std::vector<Tensor> outputs;
    outputs.push_back(Tensor::Of<float>({1, 2}, {1, 2}));
    return outputs;
  }
  std::map<std::string, TensorUse> Uses(const std::map<std::string, TensorRange>&) const override {
    return {{"conv", {.clipped = 0.25, .used = 0.5}}};
  }
  std::map<std::string, double> Drifts() const override { return {{"x", 0.125}}; }

 private:
  Log& log_;
  const absl::Status status_;
};

class RowShadowTest : public testing::Test {
 protected:
  std::unique_ptr<RowShadow> Shadow(double rate, absl::Status status = absl::OkStatus()) {
    return std::make_unique<RowShadow>(
        RowShadow::Options{.what = "model 'm' version 1",
                           .rate = rate,
                           .cpu = 1,
                           .model = &model_,
                           .shadow = std::make_unique<FakeShadow>(log_, std::move(status)),
                           .metrics = metrics_.ForShadow("m", 1)});
  }

  // Lets it see a row that was answered so.
  void Ask(RowShadow& shadow, std::vector<float> answer = {1, 2}) {
    const std::vector<float> row = {1, 2, 3, 4};
    const Rows request{.count = 1,
                       .shapes = nullptr,
                       .inputs = {{std::as_bytes(std::span(row))}},
                       .outputs = {std::as_writable_bytes(std::span(answer))}};
    shadow.Observe({&request, 1});
  }

  // Waits until that row runs.
  void AskAndWait(RowShadow& shadow, const std::vector<float>& answer = {1, 2}) {
    Ask(shadow, answer);
    log_.WaitForRows(++asked_);
  }

  std::string Dropped() const {
    return Value("hachi_shadow_rows_dropped_total{model=\"m\",reason=\"no_time\"");
  }

  // Of the page's line that begins so; empty: there is none.
  std::string Value(const std::string& name) const {
    const std::string page = metrics_.Text();
    const size_t found = page.find("\n" + name);
    if (found == std::string::npos) return "";
    const std::string line = page.substr(found + 1, page.find('\n', found + 1) - found - 1);
    return line.substr(line.rfind(' ') + 1);
  }

  FakeModel model_;
  Metrics metrics_;
  FakeShadow::Log log_;
  size_t asked_ = 0;  // rows that have run
};

TEST_F(RowShadowTest, RowsAreComparedAtTheLowestPriority) {
  auto shadow = Shadow(/*rate=*/1);
  AskAndWait(*shadow, {1, 2});
  AskAndWait(*shadow, {2, 1});
  shadow.reset();
  EXPECT_EQ(Value("hachi_shadow_rows_total{"), "2");
  EXPECT_EQ(Value("hachi_shadow_places_total{model=\"m\",result=\"agree\""), "1");
  EXPECT_EQ(Value("hachi_shadow_places_total{model=\"m\",result=\"differ\""), "1");
  EXPECT_EQ(Value("hachi_shadow_error_ratio_count{"), "2");
  MutexLock lock(log_.mutex);
  EXPECT_EQ(log_.rows, std::vector<float>({1, 1}));
  EXPECT_EQ(log_.policy, SCHED_IDLE);
}

TEST_F(RowShadowTest, AShareOfTheRowsIsSampled) {
  auto shadow = Shadow(/*rate=*/0.1);
  log_.SetBlocked(true);
  for (int i = 0; i < 4000; ++i) Ask(*shadow);
  EXPECT_NEAR(std::stod(Dropped()), 400, 60);
  log_.SetBlocked(false);
}

TEST_F(RowShadowTest, WhatHasNoRoomIsDroppedAndCountedAndNobodyWaits) {
  auto shadow = Shadow(/*rate=*/1);
  log_.SetBlocked(true);
  AskAndWait(*shadow);
  for (int i = 0; i < 100; ++i) Ask(*shadow);  // would not return if a row waited for another
  EXPECT_GE(std::stod(Dropped()), 92);
  log_.SetBlocked(false);
}

TEST_F(RowShadowTest, GaugesAreSetEveryThirtyTwoRows) {
  auto shadow = Shadow(/*rate=*/1);
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(Value("hachi_shadow_drift_index{"), "");
    AskAndWait(*shadow);
  }
  shadow.reset();
  EXPECT_EQ(Value("hachi_shadow_drift_index{input=\"x\""), "0.125");
  EXPECT_EQ(Value("hachi_shadow_clipped_ratio{model=\"m\",tensor=\"conv\""), "0.25");
  EXPECT_EQ(Value("hachi_shadow_range_used_ratio{model=\"m\",tensor=\"conv\""), "0.5");
}

TEST_F(RowShadowTest, RowsThatFailAreCounted) {
  auto shadow = Shadow(/*rate=*/1, absl::InvalidArgumentError("holds no number"));
  AskAndWait(*shadow);
  shadow.reset();
  EXPECT_EQ(Value("hachi_shadow_rows_total{"), "0");
  EXPECT_EQ(Value("hachi_shadow_rows_dropped_total{model=\"m\",reason=\"failed\""), "1");
}

}  // namespace
}  // namespace hachi::server
