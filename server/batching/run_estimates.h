#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/time/time.h"

namespace hachi::server {

// What a run of a model takes, by the rows of its batch: moving averages, learned as batches run.
//
// Thread-compatible.
class RunEstimates {
 public:
  // Knows nothing but `measured`: times by rows.
  explicit RunEstimates(const std::map<int64_t, absl::Duration>& measured = {});

  // A batch of `rows` took `time`. REQUIRES: rows >= 1.
  void Record(int64_t rows, absl::Duration time);

  // Never falls as rows grow. Between sizes that have run it is on the line between them, below the smallest
  // as long as that, beyond the largest in proportion; zero before any has run. REQUIRES: rows >= 1.
  absl::Duration At(int64_t rows) const;

  // The most rows, up to `most`, that run within `time`; 0 if one row takes longer.
  int64_t RowsWithin(absl::Duration time, int64_t most) const;

  bool empty() const { return sizes_.empty(); }

 private:
  struct Size {
    int64_t rows;
    absl::Duration average;
    absl::Duration estimate;  // the largest average of this and smaller sizes
  };
  std::vector<Size> sizes_;  // that have run, in ascending order
};

}  // namespace hachi::server
