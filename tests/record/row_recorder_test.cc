#include "server/record/row_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "engine/samples/tensor_file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

class RowRecorderTest : public testing::Test {
 protected:
  std::unique_ptr<RowRecorder> Recorder(int64_t rows) {
    auto recorder = RowRecorder::Create({.what = "model 'm' version 1",
                                         .folder = folder_,
                                         .rows = rows,
                                         .signature = &signature_,
                                         .metrics = model_metrics_.get()});
    EXPECT_OK(recorder);
    return *std::move(recorder);
  }

  // A request of rows of two values each, its bytes cut in two.
  static Rows RequestOf(const std::vector<float>& values, size_t cut = 3) {
    const auto bytes = std::as_bytes(std::span(values));
    return {.count = static_cast<int64_t>(values.size() / 2),
            .shapes = nullptr,
            .inputs = {{bytes.first(cut), bytes.subspan(cut)}},
            .outputs = {}};
  }

  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
  }
  Tensor Read(const std::string& file) const {
    auto arrays = ReadNpz(folder_ / file);
    EXPECT_OK(arrays);
    return std::move(arrays->at("x"));
  }

  TempDir directory_;
  const fs::path folder_ = directory_.path() / "recorded" / "1";
  Signature signature_ = {.inputs = {{"x", DType::kF32, {2}}}, .outputs = {}};
  Metrics metrics_;
  const std::unique_ptr<ModelMetrics> model_metrics_ = metrics_.ForModel("m", 1);
};

TEST_F(RowRecorderTest, EachRowIsAFileOfItsInputs) {
  const std::vector<float> values = {1, 2, 3, 4};
  Recorder(/*rows=*/8)->Observe(std::vector{RequestOf(values)});
  ASSERT_THAT(Files(), ElementsAre("000000.npz", "000001.npz"));
  EXPECT_THAT(Read("000000.npz").As<float>(), ElementsAre(1, 2));
  EXPECT_THAT(Read("000001.npz").As<float>(), ElementsAre(3, 4));
  EXPECT_THAT(Read("000001.npz").shape(), ElementsAre(1, 2));
}

TEST_F(RowRecorderTest, AWholeRequestHasNoDimensionOfRows) {
  signature_.batched = false;
  const std::vector<float> values = {1, 2};
  Recorder(/*rows=*/8)->Observe(std::vector{RequestOf(values)});
  EXPECT_THAT(Read("000000.npz").shape(), ElementsAre(2));
}

TEST_F(RowRecorderTest, FreeDimensionsAreThoseOfTheRequest) {
  const std::vector<float> values = {1, 2, 3, 4};
  Rows request = RequestOf(values);
  request.count = 1;
  request.shapes = std::make_shared<RowShapes>(RowShapes{.inputs = {{4}}});
  Recorder(/*rows=*/8)->Observe(std::vector{request});
  EXPECT_THAT(Read("000000.npz").shape(), ElementsAre(1, 4));
}

TEST_F(RowRecorderTest, AsManyRowsAreKeptAsAskedFor) {
  const auto recorder = Recorder(/*rows=*/2);
  std::vector<float> values(40);
  std::iota(values.begin(), values.end(), 0.0f);
  recorder->Observe(std::vector{RequestOf(values)});
  recorder->Observe(std::vector{RequestOf(values)});
  EXPECT_THAT(Files(), testing::IsSubsetOf({"000000.npz", "000001.npz"}));
}

TEST_F(RowRecorderTest, RowsThatHoldNoNumbersArePassedOver) {
  const std::vector<float> values = {1, std::numeric_limits<float>::quiet_NaN(), 3, 4};
  Recorder(/*rows=*/8)->Observe(std::vector{RequestOf(values)});
  EXPECT_THAT(Files(), ElementsAre("000001.npz"));
  EXPECT_EQ(model_metrics_->recorded_rows_total.Value(), 1);
}

TEST_F(RowRecorderTest, WhatCannotBeWrittenIsCounted) {
  const auto recorder = Recorder(/*rows=*/8);
  fs::remove_all(folder_);
  const std::vector<float> values = {1, 2};
  recorder->Observe(std::vector{RequestOf(values)});
  while (model_metrics_->record_failures_total.Value() == 0) std::this_thread::yield();
}

TEST_F(RowRecorderTest, TheFolderIsItsUsersAlone) {
  Recorder(/*rows=*/8);
  EXPECT_EQ(fs::status(folder_).permissions(), fs::perms::owner_all);
}

TEST_F(RowRecorderTest, AFolderThatIsNoneIsRefused) {
  std::ofstream(directory_.path() / "file") << "taken";
  EXPECT_THAT(RowRecorder::Create({.folder = directory_.path() / "file" / "1", .rows = 1}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("file/1")));
}

}  // namespace
}  // namespace hachi::server
