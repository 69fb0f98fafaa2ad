#include "config/model_config.h"

#include <gmock/gmock.h>

#include <string>

#include "tests/config/files.h"
#include "tests/support/status_matchers.h"

namespace hachi::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ReadModelDirectoryTest, ALoneModelFileIsVersionOneWithDefaults) {
  const TempDir temp;
  const auto model = temp.Write("digits/model.onnx");
  const auto config = ReadModelDirectory(temp.path() / "digits");
  ASSERT_OK(config);
  EXPECT_EQ(config->name, "digits");
  EXPECT_EQ(config->precision, Precision::kAuto);
  EXPECT_EQ(config->batching.max_batch_rows, 32);
  EXPECT_EQ(config->batching.max_delay, absl::Milliseconds(2));
  EXPECT_EQ(config->batching.max_queue_rows, 256);
  EXPECT_EQ(config->instances, std::nullopt);
  ASSERT_EQ(config->versions.size(), 1u);
  EXPECT_EQ(config->versions[0].version, 1);
  EXPECT_EQ(config->versions[0].model, model);
  EXPECT_THAT(config->versions[0].table.string(), IsEmpty());
}

TEST(ReadModelDirectoryTest, ATrailingSlashDoesNotChangeTheName) {
  const TempDir temp;
  temp.Write("digits/model.onnx");
  const auto config = ReadModelDirectory(temp.path() / "digits/");
  ASSERT_OK(config);
  EXPECT_EQ(config->name, "digits");
}

TEST(ReadModelDirectoryTest, VersionsAreSortedAsNumbersAndKeepTheirTables) {
  const TempDir temp;
  temp.Write("m/10/model.onnx");
  temp.Write("m/10/calibration.txt");
  temp.Write("m/9/model.onnx");
  temp.Write("m/notes/model.onnx");
  const auto config = ReadModelDirectory(temp.path() / "m");
  ASSERT_OK(config);
  ASSERT_EQ(config->versions.size(), 2u);
  EXPECT_EQ(config->versions[0].version, 9);
  EXPECT_THAT(config->versions[0].table.string(), IsEmpty());
  EXPECT_EQ(config->versions[1].version, 10);
  EXPECT_EQ(config->versions[1].table, temp.path() / "m/10/calibration.txt");
}

TEST(ReadModelDirectoryTest, ReadsEveryKey) {
  const TempDir temp;
  temp.Write("m/model.onnx");
  temp.Write("m/labels.txt");
  temp.Write("m/model.yaml", R"(
name: digits
precision: int8
inputs:
  image: {dtype: uint8, layout: nhwc, mean: [33.3], scale: [0.0127, 1, 2]}
  ids: {dims: {length: {max: 100, buckets: [32, 128], pad: -1}}}
outputs:
  probabilities: {labels: labels.txt}
batching: {max_batch: 8, max_delay: 500us, max_queue: 16, weight: 3}
plan_bytes: 64MiB
instances: 2
layers: {conv1: fp32, "block*": bf16}
range: entropy
repairs: {bias_correction: false}
shadow: {rate: 0.1%}
record: {rows: 64, dir: recorded}
guard: {max_drop: 0.5%, metric: agreement, on_failure: refuse, time: 5s}
)");
  const auto config = ReadModelDirectory(temp.path() / "m");
  ASSERT_OK(config);
  EXPECT_EQ(config->name, "digits");
  EXPECT_EQ(config->precision, Precision::kInt8);
  const InputConfig& image = config->inputs.at("image");
  EXPECT_EQ(image.dtype, InputConfig::DType::kUint8);
  EXPECT_EQ(image.layout, InputConfig::Layout::kNhwc);
  EXPECT_THAT(image.mean, ElementsAre(33.3f));
  EXPECT_THAT(image.scale, ElementsAre(0.0127f, 1.0f, 2.0f));
  EXPECT_EQ(config->outputs.at("probabilities").labels, "labels.txt");
  EXPECT_EQ(config->batching.max_batch_rows, 8);
  EXPECT_EQ(config->batching.max_delay, absl::Microseconds(500));
  EXPECT_EQ(config->batching.max_queue_rows, 16);
  EXPECT_EQ(config->batching.weight, 3);
  EXPECT_EQ(config->plan_bytes, 64 << 20);
  EXPECT_EQ(config->inputs.at("ids").dtype, std::nullopt);
  const FreeDimConfig& length = config->inputs.at("ids").dims.at("length");
  EXPECT_EQ(length.max, 100);
  EXPECT_THAT(length.buckets, ElementsAre(32, 128));
  EXPECT_EQ(length.pad, -1.0f);
  EXPECT_EQ(config->instances, 2);
  EXPECT_EQ(config->layers.at("conv1"), Precision::kFp32);
  EXPECT_EQ(config->layers.at("block*"), Precision::kBf16);
  EXPECT_EQ(config->range, "entropy");
  EXPECT_TRUE(config->repairs.equalization);
  EXPECT_FALSE(config->repairs.bias_correction);
  EXPECT_DOUBLE_EQ(config->shadow.rate, 0.001);
  EXPECT_DOUBLE_EQ(config->shadow.cpu, 0.1);
  ASSERT_TRUE(config->record.has_value());
  EXPECT_EQ(config->record->rows, 64);
  EXPECT_EQ(config->record->dir, temp.path() / "m/recorded");
  EXPECT_EQ(config->guard.max_drop, 0.005);
  EXPECT_EQ(config->guard.metric, Metric::kAgreement);
  EXPECT_EQ(config->guard.on_failure, OnGuardFailure::kRefuse);
  EXPECT_EQ(config->guard.time, absl::Seconds(5));
}

TEST(ReadModelDirectoryTest, GoldenSamplesAndDecisionsLieBesideTheVersionOrForAll) {
  const TempDir temp;
  temp.Write("m/1/model.onnx");
  temp.Write("m/1/decisions.txt");
  temp.Write("m/1/golden/a.npy");
  temp.Write("m/2/model.onnx");
  temp.Write("m/golden/a.npy");
  const auto config = ReadModelDirectory(temp.path() / "m");
  ASSERT_OK(config);
  EXPECT_EQ(config->versions[0].tuned, temp.path() / "m/1/decisions.txt");
  EXPECT_EQ(config->versions[0].golden, temp.path() / "m/1/golden");
  EXPECT_THAT(config->versions[1].tuned.string(), IsEmpty());
  EXPECT_EQ(config->versions[1].golden, temp.path() / "m/golden");
}

// A wrong model.yaml and the message after its path.
struct Refused {
  std::string yaml, message;
};

class ModelYamlTest : public ::testing::TestWithParam<Refused> {};

TEST_P(ModelYamlTest, IsRefusedNamingFileLineAndKey) {
  const TempDir temp;
  temp.Write("m/model.onnx");
  const auto file = temp.Write("m/model.yaml", GetParam().yaml);
  EXPECT_THAT(ReadModelDirectory(temp.path() / "m"),
              StatusIs(absl::StatusCode::kInvalidArgument, file.string() + GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Errors, ModelYamlTest,
    ::testing::Values(
        Refused{
            "nmae: x\n",
            ":1: nmae: unknown key, expected one of name, precision, inputs, outputs, batching, plan_bytes, "
            "instances, layers, range, repairs, guard, shadow, record"},
        Refused{"guard: {max_drop: 2}\n",
                ":1: guard.max_drop: '2', expected a share from 0% to 100%, such as 1%"},
        Refused{"[]\n", ":1: a list, expected a map"},
        Refused{"name: a/b\n", ":1: name: 'a/b', expected up to 128 letters, digits or any of . _ -"},
        Refused{"name: [a]\n", ":1: name: a list, expected up to 128 letters, digits or any of . _ -"},
        Refused{"precision: int4\n",
                ":1: precision: 'int4', expected auto | int8 | int8_dynamic | int8_weights | bf16 | fp32"},
        Refused{"inputs: [image]\n", ":1: inputs: a list, expected a map"},
        Refused{"inputs:\n  image: uint8\n", ":2: inputs.image: 'uint8', expected a map"},
        Refused{"inputs:\n  image: {type: uint8}\n",
                ":2: inputs.image.type: unknown key, expected one of dtype, layout, mean, scale, dims"},
        Refused{"inputs: {ids: {dims: {length: {buckets: [64, 32]}}}}\n",
                ":1: inputs.ids.dims.length: buckets that do not ascend, expected each larger than the one "
                "before it"},
        Refused{"inputs: {ids: {dims: {length: {max: 100, buckets: [32, 64]}}}}\n",
                ":1: inputs.ids.dims.length: max 100, expected at most the largest bucket, which is 64"},
        Refused{"inputs: {image: {dtype: int8}}\n",
                ":1: inputs.image.dtype: 'int8', expected float32 | uint8"},
        Refused{"inputs: {image: {layout: hwc}}\n", ":1: inputs.image.layout: 'hwc', expected nchw | nhwc"},
        Refused{"inputs: {image: {mean: 3}}\n", ":1: inputs.image.mean: '3', expected a list"},
        Refused{"inputs: {image: {mean: [1, .nan]}}\n",
                ":1: inputs.image.mean[1]: '.nan', expected a decimal number"},
        Refused{"inputs: {image: {scale: [0]}}\n",
                ":1: inputs.image: scale 0, expected a factor that keeps the image"},
        Refused{"inputs: {image: {mean: [1, 2, 3], scale: [1, 2]}}\n",
                ":1: inputs.image: 3 means and 2 scales, expected one for all channels or one a channel"},
        Refused{"outputs:\n  p: {labels: none.txt}\n",
                ":2: outputs.p.labels: 'none.txt', expected a file in the model directory"},
        Refused{
            "outputs:\n  p: {labels: ../../etc/passwd}\n",
            ":2: outputs.p.labels: file '../../etc/passwd': not a path inside the folder, expected one of "
            "this folder, by a relative path"},
        Refused{
            "outputs:\n  p: {labels: /etc/passwd}\n",
            ":2: outputs.p.labels: file '/etc/passwd': not a path inside the folder, expected one of this "
            "folder, by a relative path"},
        Refused{"outputs:\n  p: {labels: .}\n",
                ":2: outputs.p.labels: file '.': not a regular file, expected one"},
        Refused{"batching: {max_batch: 0}\n",
                ":1: batching.max_batch: '0', expected a whole number from 1 to 65536"},
        Refused{"batching: {max_delay: 2}\n",
                ":1: batching.max_delay: '2', expected a duration from 0s to 24h, such as 5s or 2ms"},
        Refused{"batching:\n  max_queue: 16\n",
                ":2: batching: max_queue 16, expected at least max_batch, which is 32"},
        Refused{"instances: many\n", ":1: instances: 'many', expected auto or a whole number from 1 to 1024"},
        Refused{"instances: 0\n", ":1: instances: '0', expected auto or a whole number from 1 to 1024"},
        Refused{"shadow: {rate: 0.1}\n",
                ":1: shadow.rate: '0.1', expected a share from 0% to 100%, such as 1%"},
        Refused{"shadow: {rate: 101%}\n",
                ":1: shadow.rate: '101%', expected a share from 0% to 100%, such as 1%"},
        Refused{"shadow: {rate: 1%, cpu: 0%}\n",
                ":1: shadow: cpu 0%, expected more; rate 0% is what turns it off"},
        Refused{"record: {rows: 8}\n", ":1: record: no dir, expected a folder to write to"},
        Refused{"layers: {conv1: auto}\n", ":1: layers.conv1: 'auto', expected int8 | bf16 | fp32"},
        Refused{"name: &n a\n", ":1: an anchor, expected plain YAML"}));

std::string Message(const absl::StatusOr<ModelConfig>& config, const TempDir& temp) {
  std::string message(config.status().message());
  for (size_t at; (at = message.find(temp.path().string() + "/")) != std::string::npos;)
    message.erase(at, temp.path().string().size() + 1);
  return message;
}

TEST(ReadModelDirectoryTest, RefusesATableThatIsNoFile) {
  for (const bool dangling : {false, true}) {
    const TempDir temp;
    temp.Write("m/model.onnx");
    if (dangling)
      std::filesystem::create_symlink("none", temp.path() / "m/calibration.txt");
    else
      std::filesystem::create_directory(temp.path() / "m/calibration.txt");
    const auto config = ReadModelDirectory(temp.path() / "m");
    EXPECT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_EQ(Message(config, temp),
              "version directory 'm': calibration.txt is no regular file, expected one or none");
  }
}

TEST(ReadModelDirectoryTest, RefusesAMissingDirectory) {
  const TempDir temp;
  const auto config = ReadModelDirectory(temp.path() / "m");
  EXPECT_THAT(config, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(Message(config, temp), "model directory 'm': not found, expected a directory");
}

TEST(ReadModelDirectoryTest, RefusesADirectoryWithoutAModel) {
  const TempDir temp;
  temp.Write("m/model.yaml");
  const auto config = ReadModelDirectory(temp.path() / "m");
  EXPECT_THAT(config, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(Message(config, temp),
            "model directory 'm': no model.onnx and no version directories, expected one of both");
}

TEST(ReadModelDirectoryTest, RefusesAVersionWithoutAModel) {
  const TempDir temp;
  temp.Write("m/1/calibration.txt");
  const auto config = ReadModelDirectory(temp.path() / "m");
  EXPECT_THAT(config, StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(Message(config, temp), "version directory 'm/1': no model.onnx, expected one");
}

TEST(ReadModelDirectoryTest, RefusesVersionsThatAreNotPlainNumbers) {
  for (const std::string version : {"0", "01", "99999999999999999999"}) {
    const TempDir temp;
    temp.Write("m/" + version + "/model.onnx");
    const auto config = ReadModelDirectory(temp.path() / "m");
    EXPECT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_EQ(Message(config, temp), "version directory 'm/" + version + "': '" + version +
                                         "', expected a number from 1 without leading zeros");
  }
}

TEST(ReadModelDirectoryTest, RefusesAFileBesideVersionsThatNobodyWouldRead) {
  for (const std::string file : {"model.onnx", "calibration.txt"}) {
    const TempDir temp;
    temp.Write("m/1/model.onnx");
    temp.Write("m/" + file);
    const auto config = ReadModelDirectory(temp.path() / "m");
    EXPECT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_EQ(Message(config, temp),
              "model directory 'm': " + file + " beside version directories, expected it in one of them");
  }
}

TEST(ReadModelDirectoryTest, RefusesTheOtherSpellingOfModelYaml) {
  const TempDir temp;
  temp.Write("m/model.onnx");
  temp.Write("m/model.yml");
  const auto config = ReadModelDirectory(temp.path() / "m");
  EXPECT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Message(config, temp), "model directory 'm': model.yml, expected model.yaml");
}

TEST(ReadModelDirectoryTest, RefusesADirectoryNameThatIsNoModelName) {
  const TempDir temp;
  temp.Write("my model/model.onnx");
  const auto config = ReadModelDirectory(temp.path() / "my model");
  EXPECT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Message(config, temp),
            "model directory 'my model': name 'my model', expected up to 128 letters, digits or any of . _ - "
            "or a name in model.yaml");
}

TEST(ReadModelDirectoryTest, RefusesAHugeModelYaml) {
  const TempDir temp;
  temp.Write("m/model.onnx");
  temp.Write("m/model.yaml", std::string((256 << 10) + 1, '#'));
  const auto config = ReadModelDirectory(temp.path() / "m");
  EXPECT_THAT(config, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Message(config, temp), "file 'm/model.yaml': 262145 bytes, expected at most 262144");
}

}  // namespace
}  // namespace hachi::server
