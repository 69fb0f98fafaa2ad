#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "engine/shadow/shadow_model.h"
#include "engine/tensor/tensor.h"
#include "server/metrics/shadow_metrics.h"
#include "server/models/rows_observer.h"

namespace hachi::server {

// Runs a share of the rows that a model answers once more in FP32 and reports how the answers agree, and how
// what the tensors hold fits their ranges and the calibration.
//
// Workers copy a sampled row and go on; what has no room is dropped and counted. One thread of the lowest
// priority runs the rows, and rests so long that it takes no more than its share of one core. The destructor
// drops what waits.
//
// Thread-safe.
class RowShadow final : public RowsObserver {
 public:
  struct Options {
    std::string what;  // for the log, "model 'digits' version 1"
    double rate = 0;   // of rows that are sampled, above 0 to 1
    double cpu = 0.1;  // of one core, above 0 to 1
    uint64_t seed = 0;
    const Model* model = nullptr;  // that is served; outlives this
    std::unique_ptr<ShadowModel> shadow;
    std::unique_ptr<ShadowMetrics> metrics;
  };

  explicit RowShadow(Options options);
  ~RowShadow() override;

  void Observe(std::span<const Rows> requests) override;

 private:
  // A row that was sampled, and what it was answered.
  struct Sampled {
    std::map<std::string, Tensor> inputs;
    std::vector<Tensor> outputs;
    std::shared_ptr<const RowShapes> shapes;  // until the ranges are known
    size_t bytes = 0;
  };

  // Whether the row with that number since the start is sampled.
  bool IsSampled(uint64_t row) const;
  Sampled Copy(const Rows& request, int64_t row) const;
  bool HasRoom() const;
  // False: it has no room.
  bool Put(std::unique_ptr<const Sampled> sampled);

  // On the thread.
  void RunRows();
  std::unique_ptr<const Sampled> Take();  // null: none waits
  void Compare(const Sampled& sampled);
  void FindRanges(const RowShapes* shapes);
  void Publish();
  // False: it is to stop.
  bool WaitFor(absl::Duration at_most) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Rest(absl::Duration used) ABSL_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  std::atomic<uint64_t> seen_ = 0;              // rows; only its own value matters
  std::atomic<bool> ranges_are_known_ = false;  // a hint to the workers: nothing is published with it

  // Rows that wait, null where there is room. No lock: the thread may be put to sleep while it held one, and
  // workers would wait for it. Who exchanges a pointer owns it: release and acquire publish what it points
  // at.
  static constexpr size_t kMostWaiting = 8;
  std::array<std::atomic<const Sampled*>, kMostWaiting> waiting_ = {};
  std::atomic<size_t> waiting_bytes_ = 0;  // only its own value matters

  Mutex mutex_;  // of the thread and the destructor
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  // Confined to the thread.
  size_t next_ = 0;  // place to look at: none waits for ever
  std::map<std::string, TensorRange> ranges_;
  int64_t compared_ = 0;
  bool failed_ = false;  // a failure is logged once
  std::thread thread_;
};

}  // namespace hachi::server
