#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/base/file.h"
#include "tests/commands/run_hachi.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi::server {
namespace {

using ::testing::HasSubstr;

const std::filesystem::path kSource = HACHI_SOURCE_DIR;

// A copy of the demo model's directory, to write decisions into.
struct Digits {
  TempDir folder;
  std::string model = folder.path() / "digits";
  std::filesystem::path version = folder.path() / "digits/1";

  Digits() {
    std::filesystem::copy(kSource / "deploy/models/digits", model, std::filesystem::copy_options::recursive);
  }

  Outcome Tune(std::vector<std::string> more) const {
    std::vector<std::string> arguments = {"tune",     model,
                                          "--data",   kSource / "tests/demo/test_images.npy",
                                          "--labels", kSource / "tests/demo/test_labels.npy",
                                          "--count",  "64"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunHachi({kTuneCommand, kInspectCommand}, arguments);
  }
};

TEST(TuneCommandTest, WritesAReportAndDecisionsThatLoadsTake) {
  const Digits digits;
  const Outcome outcome = digits.Tune({"--trials", "2"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  const auto report = nlohmann::json::parse(*ReadFile(digits.version / "tune.json"));
  EXPECT_EQ(report["metric"], "accuracy");
  EXPECT_EQ(report["trials"].size(), 2u);
  EXPECT_GT(report["baseline"]["throughput_per_s"], 0);
  EXPECT_GT(report["trials"][1]["changes"].size(), 5u);
  ASSERT_OK(WriteFile(digits.version / "decisions.txt", *ReadFile(digits.version / "decisions.txt") +
                                                            "stem.conv precision=fp32 origin=tune\n"));
  const Outcome damaged = RunHachi({kInspectCommand}, {"inspect", digits.model, "--decisions"});
  EXPECT_THAT(damaged.error, HasSubstr("which is how many follow"));
}

TEST(TuneCommandTest, FirstSignalEndsItWithTheBestSoFar) {
  const Digits digits;
  const auto log = digits.version / "tune.log";
  std::thread sender([&] {
    const auto has_candidate = [&] {
      return ReadFile(log).value_or("").find("range=auto equalization=on bias_correction=on\n") !=
             std::string::npos;
    };
    while (!has_candidate()) std::this_thread::yield();
    kill(getpid(), SIGINT);
  });
  const Outcome outcome = digits.Tune({"--strategy", "random", "--trials", "100000", "--time", "1h"});
  sender.join();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_THAT(outcome.out, HasSubstr("ended early: interrupted"));
  EXPECT_THAT(*ReadFile(digits.version / "decisions.txt"), HasSubstr("hachi_decisions 1\n"));
}

TEST(TuneCommandTest, WhatIsMissingOrNotWrittenSoIsNamed) {
  const Digits digits;
  EXPECT_THAT(digits.Tune({"--max-drop", "0.01"}).error, HasSubstr("--max-drop: '0.01', expected a share"));
  EXPECT_THAT(digits.Tune({"--time", "soon"}).error, HasSubstr("--time: 'soon', expected a duration"));
  std::filesystem::remove(digits.version / "calibration.txt");
  EXPECT_THAT(digits.Tune({}).error, HasSubstr("no calibration table, expected one beside it"));
}

TEST(TuneCommandTest, PrecisionThatNoTableMakesIsRefused) {
  const Digits digits;
  for (const std::string precision : {"int8_dynamic", "int8_weights", "fp32"}) {
    ASSERT_OK(WriteFile(digits.model + "/model.yaml", "precision: " + precision + "\n"));
    EXPECT_THAT(digits.Tune({}).error, HasSubstr("precision " + precision + ", expected auto or int8"));
  }
}

}  // namespace
}  // namespace hachi::server
