#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tensor/tensor.h"

namespace hachi {

// What one run of a model takes, by input name. Tensors are as the file has them: one row or a batch, of
// whatever dtype; the caller fits them to the model.
using Sample = std::map<std::string, Tensor>;

// The samples of a file or folder, in the order of their names. Files are read when asked for, not before.
//
// A file is one sample. A folder holds either the sets of the ONNX test data (`test_data_set_*/input_N.pb`,
// or one such set itself), or files that are a sample each: .npz with one array an input (named after it, or
// arr_N for the N-th); for models of a single input also .npy, .pb, .png, .jpg, .jpeg. Files of other kinds
// are skipped, and so is labels.npy. A folder without any of these stands for what lies in its folders, as of
// a data set that has one for each class.
//
// Thread-compatible.
class SampleSet {
 public:
  // NOT_FOUND: no such path. INVALID_ARGUMENT: no samples there. `inputs` are the model's, in its order.
  static absl::StatusOr<SampleSet> Open(const std::filesystem::path& path, std::vector<std::string> inputs);

  size_t size() const { return samples_.size(); }

  // The file or folder of sample `i`. REQUIRES: i < size().
  const std::filesystem::path& PathOf(size_t i) const { return samples_[i]; }

  // REQUIRES: i < size().
  absl::StatusOr<Sample> Read(size_t i) const;

 private:
  SampleSet() = default;

  std::vector<std::string> inputs_;
  std::vector<std::filesystem::path> samples_;
};

}  // namespace hachi
