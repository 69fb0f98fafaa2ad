#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tensor/tensor.h"
#include "server/client/client.h"

namespace hachi::server {

// "NAME=FILE" arguments by name. INVALID_ARGUMENT for other text and for a name given twice.
absl::StatusOr<std::map<std::string, std::filesystem::path>> ParseNamedFiles(
    const std::vector<std::string>& arguments);

// Values of one input or output of a model, row by row.
//
// Thread-safe: immutable.
class TensorRows {
 public:
  // `tensor` as values of `description`, whose first dimension counts rows when `batched`. It may have that
  // dimension or, for a single row, not. INVALID_ARGUMENT when datatype or shape differ.
  static absl::StatusOr<TensorRows> Of(Tensor tensor, const TensorDescription& description, bool batched);

  // Made up, the same in every run: integers over their whole range up to 255, others in [0, 1).
  static TensorRows Random(const TensorDescription& description, bool batched, int64_t rows);

  const std::string& name() const { return name_; }
  int64_t rows() const { return rows_; }

  // Rows first, first + 1, ... first + count - 1, starting over after the last.
  std::string Bytes(int64_t first, int64_t count) const;

  // An input of `count` rows with these bytes, which it only points at.
  InferInput Input(const std::string& bytes, int64_t count) const;

 private:
  TensorRows(const TensorDescription& description, bool batched);

  std::string name_;
  Shape row_shape_;
  bool batched_ = true;
  int64_t rows_ = 0;
  Tensor values_;
};

// The model's inputs from files, in its order. All have the same number of rows.
absl::StatusOr<std::vector<TensorRows>> ReadInputs(const std::map<std::string, std::filesystem::path>& files,
                                                   const ModelDescription& model);

// Likewise for some of its outputs, `rows` rows each.
absl::StatusOr<std::vector<TensorRows>> ReadOutputs(const std::map<std::string, std::filesystem::path>& files,
                                                    const ModelDescription& model, int64_t rows);

}  // namespace hachi::server
