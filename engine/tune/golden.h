#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/samples/sample_set.h"

namespace hachi {

// One row of samples as a model takes it, in the order of its inputs. Of a model that takes no rows, a whole
// sample.
struct GoldenRow {
  std::vector<std::vector<int64_t>> shapes;
  std::vector<std::span<const std::byte>> inputs;  // point into the samples
};

// Samples with, perhaps, their labels, read whole.
//
// Thread-compatible.
class GoldenSet {
 public:
  // `samples`: as SampleSet::Open; labels are `labels`, or where that is empty, labels.txt (a class a line)
  // or labels.npy (integers) in the folder of samples, where there is one. `inputs`: the model's, in its
  // order. At most `max_rows` rows and as many labels are used. Errors: SampleSet's; INVALID_ARGUMENT for
  // labels that are not written so.
  static absl::StatusOr<GoldenSet> Read(const std::filesystem::path& samples, std::filesystem::path labels,
                                        const std::vector<std::string>& inputs,
                                        int64_t max_rows = std::numeric_limits<int64_t>::max());

  // The rows for a model of that signature. They live as long as this. INVALID_ARGUMENT, naming the sample,
  // where one does not fit.
  absl::StatusOr<std::vector<GoldenRow>> RowsFor(const Signature& signature) const;

  const std::vector<int64_t>& labels() const { return labels_; }

 private:
  struct Named {
    std::string path;
    Sample sample;
  };

  std::vector<Named> samples_;
  std::vector<int64_t> labels_;
  int64_t max_rows_ = 0;
};

// Every file that GoldenSet::Read may look at there, in the order of names: what its outcome depends on.
absl::StatusOr<std::vector<std::filesystem::path>> GoldenFiles(const std::filesystem::path& samples);

}  // namespace hachi
