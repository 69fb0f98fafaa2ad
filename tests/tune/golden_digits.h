#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/file.h"
#include "engine/quant/calibration_table.h"
#include "tests/engine/demo_model.h"
#include "tests/support/temp_dir.h"

namespace hachi {

constexpr int64_t kGoldenRows = 64;

// The first rows of a tensor.
template <typename T>
Tensor FirstRows(const Tensor& tensor, int64_t rows) {
  Shape shape = tensor.shape();
  const auto elements = static_cast<size_t>(tensor.count() / shape[0] * rows);
  shape[0] = rows;
  return Tensor::Of<T>(shape, tensor.As<T>().first(elements));
}

// A folder of golden samples of the demo model, as clients send them; with their labels, or without.
inline std::filesystem::path WriteGolden(const TempDir& folder, bool labels = false) {
  const std::filesystem::path golden = folder.path() / "golden";
  std::filesystem::create_directories(golden);
  const TestSet set = ReadTestSet();
  EXPECT_OK(WriteNpy(golden / "images.npy", FirstRows<uint8_t>(set.images, kGoldenRows).view()));
  if (!labels) return golden;
  EXPECT_OK(WriteNpy(golden / "labels.npy", FirstRows<int64_t>(set.labels, kGoldenRows).view()));
  return golden;
}

// The demo's table in which one tensor's line says that its values reach `factor` times as far.
inline std::filesystem::path WritePoisonedTable(const TempDir& folder, const std::string& tensor,
                                                float factor) {
  const auto text = ReadFile(DigitsDir() / "calibration.txt");
  const auto table = CalibrationTable::Parse(*text);
  EXPECT_OK(table);
  const TensorStats& stats = **table->Find(tensor);
  std::vector<float> values;
  for (int i = 0; i <= 1000; ++i)
    values.push_back(factor * (stats.min() + (stats.max() - stats.min()) * static_cast<float>(i) / 1000));
  TensorStats poisoned;
  poisoned.Observe(values, {});
  std::string changed;
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n');
  for (size_t i = 0; i < lines.size(); ++i)
    absl::StrAppend(
        &changed, i > 0 ? "\n" : "",
        lines[i].starts_with(tensor + " ") ? absl::StrCat(tensor, " ", poisoned.ToText()) : lines[i]);
  return folder.Write("calibration.txt", changed);
}

}  // namespace hachi
