#include "engine/tune/tune.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tune/golden_digits.h"

namespace hachi {
namespace {

using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;

// The demo model, whose table says of one tensor that it reaches a tenth as far as it does.
struct Tuned {
  TempDir folder;
  TuneOptions options;

  Tuned() {
    options.load = DigitsOptions(Precision::kInt8);
    options.load.table = WritePoisonedTable(folder, "bottleneck.bn", 0.1f);
    options.samples = WriteGolden(folder);
    options.objective = Objective::kMemory;  // what does not depend on who else uses the machine
    options.speed_time = absl::Milliseconds(3);
    options.max_trials = 20;
  }
};

TEST(TuneTest, BadLayerRunsInAHigherPrecisionAndTheFileBringsThatAbout) {
  Tuned tuned;
  const auto result = Tune(tuned.options);
  ASSERT_OK(result);
  ASSERT_NE(result->best, nullptr);
  EXPECT_THAT(result->best->candidate.layers, ElementsAre(Key("block3.expand.conv")));
  EXPECT_GT(result->fp32.throughput_per_s, 0);

  LoadOptions load = tuned.options.load;
  load.tuned = tuned.folder.Write("decisions.txt", result->decisions.ToText());
  const auto model = LoadModel(load);
  ASSERT_OK(model);
  EXPECT_THAT((*model)->info().decisions, HasSubstr("origin=tune"));
  load.layers["block3.expand.conv"] = Precision::kInt8;
  const auto pinned = LoadModel(load);
  ASSERT_OK(pinned);
  EXPECT_THAT((*pinned)->info().decisions,
              ContainsRegex("block3.expand.conv precision=int8 range=[a-z]+ origin=pin"));
}

TEST(TuneTest, DecisionsForAnotherModelFailTheLoad) {
  const TempDir folder;
  LoadOptions load = DigitsOptions(Precision::kInt8);
  load.tuned = folder.Write("decisions.txt", TunedDecisions{.model_sha256 = std::string(64, '0')}.ToText());
  EXPECT_THAT(LoadModel(load), StatusIs(absl::StatusCode::kFailedPrecondition,
                                        HasSubstr("run hachi tune again, or take the file away")));
}

TEST(TuneTest, InterruptedOneKeepsTheBestSoFarAndGoesOn) {
  Tuned tuned;
  tuned.options.strategy = &Strategies().back();  // it does not ask what layers cost, which varies
  tuned.options.log = tuned.folder.path() / "tune.log";
  int asked = 0;
  tuned.options.stop = [&] { return ++asked > 4; };
  const auto part = Tune(tuned.options);
  ASSERT_OK(part);
  EXPECT_THAT(part->ended, StatusIs(absl::StatusCode::kCancelled, "interrupted"));
  ASSERT_NE(part->best, nullptr);
  tuned.options.stop = nullptr;
  const auto resumed = Tune(tuned.options);
  tuned.options.log.clear();
  const auto whole = Tune(tuned.options);
  ASSERT_OK(resumed);
  ASSERT_OK(whole);
  EXPECT_EQ(resumed->decisions.decisions.ToText(), whole->decisions.decisions.ToText());
  EXPECT_EQ(resumed->trials.size(), whole->trials.size());
  EXPECT_EQ(resumed->trials[0].measured.throughput_per_s, part->trials[0].measured.throughput_per_s);
}

TEST(TuneTest, LabelsMayBeTheMeasure) {
  Tuned tuned;
  WriteGolden(tuned.folder, /*labels=*/true);
  tuned.options.max_trials = 3;
  for (const Metric metric : {Metric::kAccuracy, Metric::kTop5, Metric::kF1}) {
    tuned.options.metric = metric;
    const auto result = Tune(tuned.options);
    ASSERT_OK(result);
    EXPECT_EQ(result->metric, metric);
    EXPECT_GT(result->fp32.score.value, 0.9);
  }
}

}  // namespace
}  // namespace hachi
