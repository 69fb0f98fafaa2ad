#include "server/models/load_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace hachi::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(LoadOptionsOfTest, DefaultsAskForWhatTheModelHas) {
  ModelConfig config;
  config.name = std::string("m");
  const LoadOptions options = LoadOptionsOf(config, {.version = 1, .model = "m/model.onnx"}, /*threads=*/1);
  EXPECT_EQ(options.name, "m");
  EXPECT_EQ(options.model, "m/model.onnx");
  EXPECT_EQ(options.table, "");
  EXPECT_EQ(options.precision, Precision::kAuto);
  EXPECT_THAT(options.inputs, IsEmpty());
  EXPECT_THAT(options.layers, IsEmpty());
}

TEST(LoadOptionsOfTest, FilesAreTheVersions) {
  const LoadOptions options =
      LoadOptionsOf({}, {.version = 3, .model = "m/3/model.onnx", .table = "m/3/calibration.txt"}, 1);
  EXPECT_EQ(options.model, "m/3/model.onnx");
  EXPECT_EQ(options.table, "m/3/calibration.txt");
}

TEST(LoadOptionsOfTest, GuardLooksAtTheVersionsGoldenSamples) {
  ModelConfig config;
  config.guard = {.max_drop = 0.02,
                  .metric = Metric::kTop5,
                  .on_failure = OnGuardFailure::kFp32,
                  .time = absl::Seconds(1)};
  const LoadOptions options = LoadOptionsOf(config, {.tuned = "m/decisions.txt", .golden = "m/golden"}, 1);
  EXPECT_EQ(options.tuned, "m/decisions.txt");
  EXPECT_EQ(options.guard.golden, "m/golden");
  EXPECT_EQ(options.guard.max_drop, 0.02);
  EXPECT_EQ(options.guard.metric, Metric::kTop5);
  EXPECT_EQ(options.guard.on_failure, OnGuardFailure::kFp32);
  EXPECT_EQ(options.guard.time, absl::Seconds(1));
}

TEST(LoadOptionsOfTest, InputsCarryTheirPreprocessing) {
  ModelConfig config;
  config.inputs["image"] = {.dtype = InputConfig::DType::kUint8,
                            .layout = InputConfig::Layout::kNhwc,
                            .mean = {1, 2, 3},
                            .scale = {0.5}};
  config.inputs["x"].dims["length"] = {.max = 9, .buckets = {4, 16}, .pad = 1};
  const LoadOptions options = LoadOptionsOf(config, {}, 1);
  const InputOptions& image = options.inputs.at("image");
  EXPECT_EQ(image.dtype, DType::kU8);
  EXPECT_TRUE(image.channels_last);
  EXPECT_THAT(image.mean, ElementsAre(1, 2, 3));
  EXPECT_THAT(image.scale, ElementsAre(0.5));
  const InputOptions& x = options.inputs.at("x");
  EXPECT_EQ(x.dtype, std::nullopt);
  EXPECT_FALSE(x.channels_last);
  EXPECT_EQ(x.dims.at("length").max, 9);
  EXPECT_THAT(x.dims.at("length").buckets, ElementsAre(4, 16));
  EXPECT_EQ(x.dims.at("length").pad, 1);
}

TEST(LoadOptionsOfTest, PrecisionsAreTheConfigurations) {
  ModelConfig config;
  config.precision = Precision::kInt8;
  config.layers = {{"conv*", Precision::kFp32}};
  const LoadOptions options = LoadOptionsOf(config, {}, 1);
  EXPECT_EQ(options.precision, Precision::kInt8);
  EXPECT_THAT(options.layers, ElementsAre(Pair("conv*", Precision::kFp32)));
}

TEST(LoadOptionsOfTest, PlansAreForTheLargestBatchAndTheTeam) {
  ModelConfig config;
  config.batching.max_batch_rows = 17;
  const LoadOptions options = LoadOptionsOf(config, {}, /*threads=*/3);
  EXPECT_EQ(options.max_batch_rows, 17);
  EXPECT_EQ(options.threads, 3);
}

}  // namespace
}  // namespace hachi::server
