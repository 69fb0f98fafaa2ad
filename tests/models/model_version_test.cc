#include "server/models/model_version.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "tests/support/fake_model.h"
#include "tests/support/status_matchers.h"

namespace hachi::server {
namespace {

using ::testing::HasSubstr;

// Version 2 of model "m", with metrics of its own.
struct TestVersion {
  TestVersion()
      : version(std::make_shared<const ModelConfig>(ModelConfig{.name = "m"}), VersionFiles{.version = 2},
                metrics.ForModel("m", 2)) {}

  Metrics metrics;
  ModelVersion version;
};

std::string StateLine(std::string_view state, int value) {
  return absl::StrCat("hachi_model_state{model=\"m\",state=\"", std::string(state), "\",version=\"2\"} ",
                      value, "\n");
}

void ExpectState(const TestVersion& test, ModelState expected) {
  EXPECT_EQ(test.version.state(), expected);
  const std::string page = test.metrics.Text();
  for (const ModelState state : kModelStates) {
    EXPECT_THAT(page, HasSubstr(StateLine(NameOf(state), state == expected)));
  }
}

TEST(ModelVersionTest, StateIsShownAtEachStepOfALoad) {
  TestVersion test;
  ExpectState(test, ModelState::kWaiting);
  EXPECT_THAT(test.version.ReadyStatus(),
              StatusIs(absl::StatusCode::kUnavailable, "model 'm' version 2: waiting, expected ready"));
  test.version.StartLoading();
  ExpectState(test, ModelState::kLoading);
  EXPECT_THAT(test.version.ReadyStatus(),
              StatusIs(absl::StatusCode::kUnavailable, "model 'm' version 2: loading, expected ready"));
  test.version.FinishLoading(std::make_unique<FakeModel>(), absl::Seconds(1));
  ExpectState(test, ModelState::kReady);
  EXPECT_OK(test.version.ReadyStatus());
}

TEST(ModelVersionTest, FailedLoadIsAStateThatSaysWhy) {
  TestVersion test;
  test.version.StartLoading();
  test.version.FailLoading(absl::DataLossError("model.onnx: is damaged"), absl::Milliseconds(1500));
  ExpectState(test, ModelState::kFailed);
  EXPECT_THAT(test.version.ReadyStatus(),
              StatusIs(absl::StatusCode::kUnavailable,
                       "model 'm' version 2: failed to load: model.onnx: is damaged"));
  EXPECT_EQ(test.version.metrics().load_seconds.Value(), 1.5);
}

TEST(ModelVersionTest, LoadedModelIsDescribedInMetrics) {
  TestVersion test;
  auto model = std::make_unique<FakeModel>();
  model->set_info({.precision = Precision::kInt8,
                   .isa = "fake",
                   .weights_bytes = 1000,
                   .weights_copies = 2,
                   .arena_bytes = 300,
                   .layers_by_precision = {{"int8", 5}, {"fp32", 1}},
                   .vnni_mac_ratio = 0.75,
                   .reference_steps = {{"shape", "the operator has no kernel"}}});
  test.version.StartLoading();
  test.version.FinishLoading(std::move(model), absl::Seconds(2));
  const ModelMetrics& metrics = test.version.metrics();
  EXPECT_EQ(metrics.load_seconds.Value(), 2);
  EXPECT_EQ(metrics.weights_bytes.Value(), 1000);
  EXPECT_EQ(metrics.weights_copies.Value(), 2);
  EXPECT_EQ(metrics.arena_bytes.Value(), 300);
  EXPECT_EQ(metrics.vnni_mac_ratio.Value(), 0.75);
  EXPECT_EQ(metrics.reference_steps.Value(), 1);
  const std::string page = test.metrics.Text();
  EXPECT_THAT(page, HasSubstr("hachi_model_layers{model=\"m\",precision=\"int8\",version=\"2\"} 5\n"));
  EXPECT_THAT(page, HasSubstr("hachi_model_layers{model=\"m\",precision=\"fp32\",version=\"2\"} 1\n"));
}

TEST(ModelVersionTest, OnlyABatchedModelTakesTheConfiguredBatch) {
  for (const bool batched : {true, false}) {
    TestVersion test;
    auto model = std::make_unique<FakeModel>();
    model->set_signature({.inputs = {}, .outputs = {}, .batched = batched});
    test.version.StartLoading();
    test.version.FinishLoading(std::move(model), absl::ZeroDuration());
    EXPECT_EQ(test.version.max_batch_rows(), batched ? BatchingConfig().max_batch_rows : 1);
  }
}

TEST(ModelVersionDeathTest, StepOutOfOrderIsOurBug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  TestVersion test;
  EXPECT_DEATH(test.version.FinishLoading(std::make_unique<FakeModel>(), absl::ZeroDuration()),
               "model 'm': state waiting cannot become ready");
  test.version.StartLoading();
  EXPECT_DEATH(test.version.StartLoading(), "state loading cannot become loading");
  test.version.FailLoading(absl::InternalError(""), absl::ZeroDuration());
  EXPECT_DEATH(test.version.StartLoading(), "state failed cannot become loading");
}

}  // namespace
}  // namespace hachi::server
