#include "server/models/trial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi::server {
namespace {

using ::testing::HasSubstr;

// What a shell does in the place of a load; $1 is the version's name.
Trial::Options Shell(const std::string& script) {
  return {.command = {"/bin/sh", "-c", script, "trial"},
          .memory_bytes = int64_t{64} << 20,
          .time = absl::Seconds(30),
          .cache = {},
          .circumstances = ""};
}

// A model directory with one version.
class TestModel {
 public:
  TestModel() {
    config_.name = "m";
    config_.dir = dir_.path() / "m";
    Write("1/model.onnx", "weights");
    Write("model.yaml", "name: m\n");
  }
  void Write(const std::string& file, const std::string& content) { dir_.Write("m/" + file, content); }
  absl::Status Try(Trial& trial) const {
    return trial.Run(config_, {1, config_.dir / "1/model.onnx", config_.dir / "1/calibration.txt"});
  }
  std::filesystem::path path(const std::string& name) const { return dir_.path() / name; }

 private:
  TempDir dir_;
  ModelConfig config_;
};

TEST(TrialTest, LoadGoesOnWhenTheProcessEndsByItself) {
  const TestModel model;
  for (const std::string script : {"exit 0", "exit 1"}) {
    Trial trial(Shell(script));
    EXPECT_OK(model.Try(trial)) << script;
  }
}

TEST(TrialTest, ProcessIsToldWhichVersion) {
  const TestModel model;
  Trial trial(Shell(R"([ "$1" = m/1 ] || kill -KILL $$)"));
  EXPECT_OK(model.Try(trial));
}

TEST(TrialTest, ProcessThatIsKilledSaysBySignal) {
  const TestModel model;
  Trial trial(Shell("kill -SEGV $$"));
  EXPECT_THAT(model.Try(trial),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("ended by signal 11 (Segmentation fault)")));
}

TEST(TrialTest, ProcessBeyondItsMemoryIsEnded) {
  const TestModel model;
  Trial trial(Shell(R"(x=$(head -c 400000000 /dev/zero | tr '\0' x); exec sleep 60)"));
  EXPECT_THAT(model.Try(trial),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("bytes, expected at most 67108864")));
}

TEST(TrialTest, ProcessBeyondItsTimeIsEnded) {
  const TestModel model;
  Trial::Options options = Shell("exec sleep 60");
  options.time = absl::Milliseconds(100);
  Trial trial(options);
  EXPECT_THAT(model.Try(trial),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("took longer than 100ms")));
}

TEST(TrialTest, ProcessThatDoesNotStartIsAnError) {
  const TestModel model;
  Trial::Options options = Shell("");
  options.command = {"/nowhere/hachi"};
  Trial trial(options);
  EXPECT_THAT(model.Try(trial), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("does not start")));
}

TEST(TrialTest, StopEndsIt) {
  const TestModel model;
  Trial trial(Shell("exec sleep 60"));
  std::thread stopper([&] { trial.Stop(); });
  EXPECT_THAT(model.Try(trial), StatusIs(absl::StatusCode::kCancelled));
  stopper.join();
}

TEST(TrialTest, FilesThatWentWellAreNotTriedAgain) {
  TestModel model;
  Trial::Options options = Shell("echo >> " + model.path("runs").string());
  options.cache = model.path("cache");
  const auto runs_of = [&](const Trial::Options& with) {
    Trial trial(with);
    EXPECT_OK(model.Try(trial));
    std::ifstream runs(model.path("runs"));
    return std::count(std::istreambuf_iterator<char>(runs), {}, '\n');
  };
  EXPECT_EQ(runs_of(options), 1);
  EXPECT_EQ(runs_of(options), 1);
  model.Write("1/model.onnx", "changed");
  EXPECT_EQ(runs_of(options), 2);
  model.Write("1/calibration.txt", "new");
  EXPECT_EQ(runs_of(options), 3);
  model.Write("model.yaml", "name: m\nprecision: fp32\n");
  EXPECT_EQ(runs_of(options), 4);
  Trial::Options elsewhere = options;
  elsewhere.circumstances = "another CPU";
  EXPECT_EQ(runs_of(elsewhere), 5);
  EXPECT_EQ(runs_of(options), 5);
  EXPECT_EQ(runs_of(elsewhere), 5);
}

TEST(TrialTest, FilesThatDidNotLoadAreTriedAgain) {
  const TestModel model;
  Trial::Options options = Shell("echo >> " + model.path("runs").string() + "; exit 1");
  options.cache = model.path("cache");
  for (const std::uintmax_t runs : {1u, 2u}) {
    Trial trial(options);
    EXPECT_OK(model.Try(trial));
    EXPECT_EQ(std::filesystem::file_size(model.path("runs")), runs);
  }
}

}  // namespace
}  // namespace hachi::server
