#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "engine/tensor/tensor.h"
#include "server/metrics/metrics.h"
#include "server/models/rows_observer.h"
#include "server/record/reservoir.h"

namespace hachi::server {

// Keeps a sample of what a model was asked, for `hachi calibrate`: one row a file, FOLDER/000042.npz with an
// array for each input as the client sent it. Rows that hold a value which is no number are passed over:
// calibration refuses them. The sample is uniform over the rows seen since the start, and takes the places of
// an earlier start's one after the other.
//
// Writes on a thread of its own; while that is behind, rows are not seen. The destructor writes what waits.
//
// Thread-safe.
class RowRecorder final : public RowsObserver {
 public:
  struct Options {
    std::string what;              // for the log, "model 'digits' version 1"
    std::filesystem::path folder;  // made where it is missing, for this user alone
    int64_t rows = 0;              // of the sample; at least 1
    uint64_t seed = 0;
    const Signature* signature = nullptr;  // of the model; required, outlives the recorder
    ModelMetrics* metrics = nullptr;       // likewise
  };

  // UNAVAILABLE: the folder can't be made or written to.
  static absl::StatusOr<std::unique_ptr<RowRecorder>> Create(Options options);

  ~RowRecorder() override;

  void Observe(std::span<const Rows> requests) override;

 private:
  // A row to be written.
  struct Record {
    int64_t place;
    std::map<std::string, Tensor> inputs;
    size_t bytes = 0;
  };

  explicit RowRecorder(Options options);

  // The place of a row that comes now; nullopt: none.
  std::optional<int64_t> Place() ABSL_LOCKS_EXCLUDED(mutex_);
  Record RecordOf(int64_t place, const Rows& request, int64_t row) const;

  // The next to be written; nullopt: stopped, and all are.
  std::optional<Record> Next() ABSL_LOCKS_EXCLUDED(mutex_);
  void Write(const Record& record);

  const Options options_;
  Mutex mutex_;
  CondVar changed_;
  Reservoir reservoir_ ABSL_GUARDED_BY(mutex_);
  std::deque<Record> waiting_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool failed_ = false;  // confined to writer_: a failure is logged once
  std::thread writer_;
};

}  // namespace hachi::server
