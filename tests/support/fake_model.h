#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"
#include "engine/engine.h"

namespace hachi {

// A model without an engine. Every byte of an output row is the sum of the bytes of that row's inputs, so
// that an answer that went to the wrong request shows.
//
// Thread-safe, except for the setters of the first part: call them before the model is served.
class FakeModel final : public Model {
 public:
  // One f32 input "x" [4] and one f32 output "y" [2].
  FakeModel() {
    signature_.inputs = {{"x", DType::kF32, {4}}};
    signature_.outputs = {{"y", DType::kF32, {2}}};
    info_.precision = Precision::kFp32;
    info_.isa = "fake";
  }

  void set_signature(Signature signature) { signature_ = std::move(signature); }
  void set_run_times(std::map<int64_t, absl::Duration> times) { plans_->times = std::move(times); }
  void set_wide_run_times(std::map<int64_t, absl::Duration> times) { plans_->wide_times = std::move(times); }
  void set_info(ModelInfo info) { info_ = std::move(info); }
  void set_times(RunTimes times) { times_ = times; }
  void set_work(std::function<void()> work) { work_ = std::move(work); }  // that each run does first

  // Every run from now on ends with this.
  void FailWith(absl::Status status) {
    MutexLock lock(mutex_);
    failure_ = std::move(status);
  }

  // Runs from now on wait, having begun, until Unblock.
  void Block() {
    MutexLock lock(mutex_);
    blocked_ = true;
  }
  void Unblock() {
    MutexLock lock(mutex_);
    blocked_ = false;
    changed_.NotifyAll();
  }

  // Waits until so many runs have begun since the start.
  void WaitForRuns(int64_t runs) const {
    MutexLock lock(mutex_);
    while (static_cast<int64_t>(batch_rows_.size()) < runs) changed_.Wait(mutex_);
  }

  // The rows of each run that has begun, in order.
  std::vector<int64_t> batch_rows() const {
    MutexLock lock(mutex_);
    return batch_rows_;
  }
  int64_t rows_computed() const {
    int64_t rows = 0;
    for (int64_t of_batch : batch_rows()) rows += of_batch;
    return rows;
  }
  int most_concurrent_runs() const {
    MutexLock lock(mutex_);
    return most_running_;
  }

  const Signature& signature() const override { return signature_; }
  const ModelInfo& info() const override { return info_; }

  absl::StatusOr<RunTimes> Run(RunContext&, std::span<const Rows> requests) const override {
    if (work_) work_();
    MutexLock lock(mutex_);
    int64_t rows = 0;
    for (const Rows& request : requests) rows += request.count;
    batch_rows_.push_back(rows);
    most_running_ = std::max(most_running_, ++running_);
    changed_.NotifyAll();
    while (blocked_) changed_.Wait(mutex_);
    --running_;
    if (!failure_.ok()) return failure_;
    for (const Rows& request : requests) Answer(request);
    return times_;
  }

  // As they come. Outputs have no free dimensions.
  absl::StatusOr<std::shared_ptr<const RowShapes>> ShapesOf(
      std::span<const std::vector<int64_t>> inputs, std::span<const InputChunks> /*values*/) const override {
    auto shapes = std::make_shared<RowShapes>();
    shapes->inputs.assign(inputs.begin(), inputs.end());
    for (const TensorSignature& output : signature_.outputs) shapes->outputs.push_back(output.dims);
    for (size_t i = 0; i < inputs.size(); ++i)
      shapes->input_bytes.push_back(static_cast<size_t>(CountOf(inputs[i])) *
                                    SizeOf(signature_.inputs[i].dtype));
    for (const TensorSignature& output : signature_.outputs)
      shapes->output_bytes.push_back(output.row_bytes());
    MutexLock lock(mutex_);
    std::shared_ptr<FakePlans>& plans = free_plans_[shapes->inputs];
    if (plans == nullptr) plans = has_free_inputs() ? std::make_shared<FakePlans>() : plans_;
    shapes->plans = plans;
    return shapes;
  }

  // Plans of free shapes are made for a batch at a time, or not.
  void FailPlansWith(absl::Status status) { plan_failure_ = std::move(status); }
  absl::Status MakePlans(const PlanSet& plans, int64_t rows, Team team) const override {
    if (team == Team::kWide) return absl::OkStatus();
    RETURN_IF_ERROR(plan_failure_);
    const_cast<FakePlans&>(static_cast<const FakePlans&>(plans)).rows = rows;
    return absl::OkStatus();
  }
  PlanCacheStats plan_cache_stats() const override { return {}; }

  absl::StatusOr<std::string> PlanText(const RowShapes*, int64_t) const override {
    return std::string("fake\n");
  }
  absl::StatusOr<std::vector<StepFacts>> Steps(const RowShapes*, int64_t) const override {
    return std::vector<StepFacts>{};
  }
  absl::StatusOr<std::vector<StepProfile>> Profile(RunContext&, const RowShapes*, int64_t,
                                                   int) const override {
    return std::vector<StepProfile>{};
  }

 private:
  struct FakePlans final : PlanSet {
    int64_t largest_rows() const override { return rows; }
    std::map<int64_t, absl::Duration> run_times(Team team) const override {
      return team == Team::kWide ? wide_times : times;
    }
    std::atomic<int64_t> rows = 0;
    std::map<int64_t, absl::Duration> times, wide_times;
  };

  static std::shared_ptr<FakePlans> MadePlans() {
    auto plans = std::make_shared<FakePlans>();
    plans->rows = 1 << 20;
    return plans;
  }

  bool has_free_inputs() const { return std::ranges::any_of(signature_.inputs, &TensorSignature::is_free); }

  static void Answer(const Rows& request) {
    std::vector<uint8_t> sums(static_cast<size_t>(request.count));
    for (const auto& input : request.inputs) {
      size_t total = 0;
      for (std::span<const std::byte> chunk : input) total += chunk.size();
      size_t offset = 0;
      for (std::span<const std::byte> chunk : input) {
        for (std::byte byte : chunk) {
          sums[offset++ * sums.size() / total] += static_cast<uint8_t>(byte);
        }
      }
    }
    for (std::span<std::byte> output : request.outputs) {
      for (size_t i = 0; i < output.size(); ++i) {
        output[i] = static_cast<std::byte>(sums[i * sums.size() / output.size()]);
      }
    }
  }

  Signature signature_;
  ModelInfo info_;
  RunTimes times_;
  std::function<void()> work_;
  absl::Status plan_failure_;
  std::shared_ptr<FakePlans> plans_ = MadePlans();

  mutable Mutex mutex_;
  mutable CondVar changed_;
  mutable std::map<std::vector<std::vector<int64_t>>, std::shared_ptr<FakePlans>> free_plans_
      ABSL_GUARDED_BY(mutex_);
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  bool blocked_ ABSL_GUARDED_BY(mutex_) = false;
  mutable std::vector<int64_t> batch_rows_ ABSL_GUARDED_BY(mutex_);
  mutable int running_ ABSL_GUARDED_BY(mutex_) = 0;
  mutable int most_running_ ABSL_GUARDED_BY(mutex_) = 0;
};

class FakeRunContext final : public RunContext {};

}  // namespace hachi
