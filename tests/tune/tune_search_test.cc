#include "engine/tune/tune_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "engine/tune/strategy.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using ::testing::ElementsAre;
using ::testing::Key;

// A network of which it is known what each layer in INT8 adds to the noise: little, or ruin.
struct FakeNetwork {
  explicit FakeNetwork(std::vector<int> bad_layers, int layers = 12) : bad(std::move(bad_layers)) {
    for (int i = 0; i < layers; ++i)
      options.layers.push_back({absl::StrCat("conv", i), absl::Microseconds(100)});
    options.measure = [this](const Candidate& candidate) -> absl::StatusOr<Evaluator::Measured> {
      ++measured;
      const double noise = NoiseOf(candidate);
      const auto out = static_cast<double>(candidate.layers.size());
      return Evaluator::Measured{.score = {.value = 1 - noise, .drop = noise / 2, .noise = noise},
                                 .throughput_per_s = 1e6 / (1000 + 100 * out),
                                 .bytes = static_cast<int64_t>(1000 + 100 * out)};
    };
    options.noise_of = [this](std::span<const Candidate> candidates) -> absl::StatusOr<std::vector<double>> {
      measured += static_cast<int>(candidates.size());
      std::vector<double> noises;
      for (const Candidate& candidate : candidates) noises.push_back(NoiseOf(candidate));
      return noises;
    };
  }

  double NoiseOf(const Candidate& candidate) const {
    double noise = 0;
    for (size_t i = 0; i < options.layers.size(); ++i)
      if (!candidate.layers.contains(options.layers[i].name))
        noise += std::ranges::count(bad, static_cast<int>(i)) > 0 ? 1.0 : 1e-4;
    return noise;
  }

  std::vector<int> bad;
  TuneSearch::Options options{.strategy = "test"};
  int measured = 0;
};

TEST(StrategyTest, EachFindsTheOneBadLayer) {
  for (const Strategy& strategy : Strategies()) {
    FakeNetwork network({7});
    network.options.max_trials = 2000;
    TuneSearch search(network.options);
    const absl::Status ended = strategy.run(search);
    EXPECT_TRUE(ended.ok() || absl::IsCancelled(ended)) << strategy.name << " " << ended;
    ASSERT_NE(search.best(), nullptr) << strategy.name;
    EXPECT_TRUE(search.best()->candidate.layers.contains("conv7")) << strategy.name;
    // Chance takes out others too.
    EXPECT_TRUE(search.best()->candidate.layers.size() == 1 || strategy.name == "random") << strategy.name;
  }
}

TEST(StrategyTest, SameSeedMakesTheSameTrials) {
  for (const Strategy& strategy : Strategies()) {
    std::vector<std::string> keys[2];
    for (auto& each : keys) {
      FakeNetwork network({3, 4});
      TuneSearch search(network.options);
      (void)strategy.run(search);
      for (const Trial& trial : search.trials()) each.push_back(trial.candidate.Key());
    }
    EXPECT_EQ(keys[0], keys[1]) << strategy.name;
  }
}

TEST(StrategyTest, InterruptedSearchGoesOnWhereItWas) {
  for (const Strategy& strategy : Strategies()) {
    const TempDir folder;
    FakeNetwork whole({2, 9}), part({2, 9});
    TuneSearch uninterrupted(whole.options);
    (void)strategy.run(uninterrupted);
    auto log = TrialLog::Open(folder.path() / "tune.log", "digits");
    ASSERT_OK(log);
    part.options.log = &*log;
    part.options.stop = [&] { return part.measured >= whole.measured / 2; };
    TuneSearch interrupted(part.options);
    EXPECT_THAT(strategy.run(interrupted), StatusIs(absl::StatusCode::kCancelled)) << strategy.name;
    auto reopened = TrialLog::Open(folder.path() / "tune.log", "digits");
    ASSERT_OK(reopened);
    part.options.log = &*reopened;
    part.options.stop = nullptr;
    TuneSearch resumed(part.options);
    (void)strategy.run(resumed);
    EXPECT_LE(part.measured, whole.measured + 4) << strategy.name;
    ASSERT_EQ(resumed.trials().size(), uninterrupted.trials().size()) << strategy.name;
    EXPECT_EQ(resumed.best()->candidate.Key(), uninterrupted.best()->candidate.Key()) << strategy.name;
  }
}

TEST(TuneSearchTest, TrialsAndTimeEndASearchThatKeepsTheBest) {
  FakeNetwork network({0});
  network.options.max_trials = 2;
  TuneSearch search(network.options);
  ASSERT_OK(search.Try(search.plain()));
  ASSERT_OK(search.Try(Without(search, search.plain(), {{0}})));
  EXPECT_THAT(search.Try(Without(search, search.plain(), {{1}})), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(search.best()->id, 2);
  network.options.until = absl::InfinitePast();
  EXPECT_THAT(TuneSearch(network.options).Try(search.plain()), StatusIs(absl::StatusCode::kCancelled));
}

// The more layers are out the faster it looks; only when measured again it is the other way round.
void MakeLuckyTrials(FakeNetwork& network) {
  network.options.measure = [](const Candidate& candidate) -> absl::StatusOr<Evaluator::Measured> {
    return Evaluator::Measured{.throughput_per_s = 200.0 + static_cast<double>(candidate.layers.size())};
  };
  network.options.throughput_of = [](const Candidate& candidate) -> absl::StatusOr<double> {
    return 150.0 - static_cast<double>(candidate.layers.size());
  };
}

// Without the first layer, without the first two, and so on to `most`.
void TryWithoutMoreAndMore(TuneSearch& search, size_t most) {
  std::vector<size_t> out;
  for (size_t layer = 0; layer < most; ++layer) {
    out.push_back(layer);
    EXPECT_OK(search.Try(Without(search, search.plain(), out)));
  }
}

TEST(TuneSearchTest, FastestTrialsMeetAgain) {
  FakeNetwork network({});
  MakeLuckyTrials(network);
  TuneSearch search(network.options);
  TryWithoutMoreAndMore(search, 5);
  EXPECT_EQ(search.best()->id, 5);
  ASSERT_OK(search.RunFinal());
  EXPECT_EQ(search.best()->id, 3);  // of 3, 4 and 5
  EXPECT_EQ(search.best()->measured.throughput_per_s, 147);
}

TEST(TuneSearchTest, NothingDecidedIsKeptWhereNothingIsFaster) {
  FakeNetwork network({});
  MakeLuckyTrials(network);
  TuneSearch search(network.options);
  ASSERT_OK(search.Try(search.plain()));
  TryWithoutMoreAndMore(search, 4);
  ASSERT_OK(search.RunFinal());
  EXPECT_EQ(search.best()->candidate.Key(), search.plain().Key());
}

TEST(TuneSearchTest, LeastMemoryMayBeTheObjective) {
  FakeNetwork network({});
  network.options.objective = Objective::kMemory;
  network.options.measure = [](const Candidate& candidate) -> absl::StatusOr<Evaluator::Measured> {
    const auto out = static_cast<int64_t>(candidate.layers.size());
    return Evaluator::Measured{.throughput_per_s = static_cast<double>(out), .bytes = 10 + out};
  };
  TuneSearch search(network.options);
  ASSERT_OK(search.Try(Without(search, search.plain(), {{1}})));
  ASSERT_OK(search.Try(search.plain()));
  EXPECT_EQ(search.best()->id, 2);
}

TEST(WorstLayersTest, FewBadLayersAmongManyCostFewMeasurements) {
  FakeNetwork network({17}, /*layers=*/64);
  network.options.max_drop = 0.01;
  TuneSearch search(network.options);
  const auto taken = TakeOutWorstLayers(search.plain(), search);
  ASSERT_OK(taken);
  EXPECT_THAT(taken->layers, ElementsAre("conv17"));
  EXPECT_LE(network.measured, 2 * 7 + 2);
}

TEST(TrialLogTest, LineThatWasCutShortIsForgotten) {
  const TempDir folder;
  const auto file = folder.path() / "tune.log";
  auto log = TrialLog::Open(file, "digits");
  ASSERT_OK(log);
  ASSERT_OK(log->AddNumber("noise", "a", 0.25));
  ASSERT_OK(log->AddNumber("noise", "b=int8/auto", 0.5));
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 3);
  auto again = TrialLog::Open(file, "digits");
  ASSERT_OK(again);
  EXPECT_EQ(again->FindNumber("noise", "a"), 0.25);
  EXPECT_EQ(again->FindNumber("noise", "b=int8/auto"), std::nullopt);
  ASSERT_OK(again->AddTrial(
      "c", {.score = {.value = 1, .drop = 0.5, .noise = 2}, .throughput_per_s = 3, .bytes = 4}));
  const auto third = TrialLog::Open(file, "digits");
  ASSERT_OK(third);
  EXPECT_EQ(third->FindTrial("c")->bytes, 4);
}

TEST(TrialLogTest, LogOfSomethingElseIsBegunAnew) {
  const TempDir folder;
  auto log = TrialLog::Open(folder.path() / "tune.log", "digits");
  ASSERT_OK(log);
  ASSERT_OK(log->AddNumber("noise", "a", 0.25));
  const auto other = TrialLog::Open(folder.path() / "tune.log", "letters");
  ASSERT_OK(other);
  EXPECT_EQ(other->FindNumber("noise", "a"), std::nullopt);
}

}  // namespace
}  // namespace hachi
