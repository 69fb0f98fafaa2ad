#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/quant/tensor_stats.h"

namespace hachi {

// What calibration saw of every tensor of one model, by the ONNX value names of its file. Text, one line a
// tensor, sorted; README.md has the format and its reasons.
//
// Thread-compatible.
class CalibrationTable {
 public:
  struct Header {
    std::string model_sha256;  // 64 lower-case hexadecimal digits: ImportedModel::sha256
    std::string data_tag;      // what the data was, in the user's words
    int64_t samples = 0;       // rows that the model ran over
    std::string tool_version;
  };
  struct Entry {
    TensorStats stats;
    bool commented_out = false;  // consumers of this tensor run in FP32
  };

  explicit CalibrationTable(Header header) : header_(std::move(header)) {}

  // Ranges that another tool found: a tensor without one stays FP32. Not to be written or merged.
  static CalibrationTable OfRanges(std::map<std::string, TensorStats, std::less<>> ranges);

  // DATA_LOSS naming the line when the text is damaged, holds fewer or more tensors than its header says, or
  // a tensor twice. UNIMPLEMENTED for another version of the format.
  static absl::StatusOr<CalibrationTable> Parse(std::string_view text);
  static absl::StatusOr<CalibrationTable> Read(const std::filesystem::path& file);
  std::string ToText() const;
  absl::Status Write(const std::filesystem::path& file) const;

  const Header& header() const { return header_; }
  const std::map<std::string, Entry, std::less<>>& tensors() const { return tensors_; }

  // FAILED_PRECONDITION when the table was made for another model.
  absl::Status CheckBelongsTo(std::string_view model_sha256) const;

  // The tensor's statistics, or null when its line is commented out. INVALID_ARGUMENT when it has no line;
  // null then in a table of ranges.
  absl::StatusOr<const TensorStats*> Find(std::string_view tensor) const;

  // The tensor's line, or null when it has none.
  const Entry* Line(std::string_view tensor) const;

  // Adds values of a tensor, which gets a line even if there are none. See TensorStats::Observe.
  void Observe(std::string_view tensor, std::span<const float> values, const ChannelOrder& order);
  void AddSamples(int64_t samples) { header_.samples += samples; }

  // Adds what another run over the same model saw; a line that either has commented out stays so. The
  // header's tag becomes "a+b" where they differ, the version stays. FAILED_PRECONDITION for another model;
  // INVALID_ARGUMENT when one lacks a tensor that the other has and another version wrote it (one version's
  // runs meet different tensors where samples decide which branch a model takes).
  absl::Status Merge(const CalibrationTable& other);

 private:
  Header header_;
  bool of_ranges_ = false;
  std::map<std::string, Entry, std::less<>> tensors_;
};

}  // namespace hachi
