#include "config/model_config.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "config/types.h"
#include "config/yaml.h"
#include "engine/base/beneath.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"

namespace hachi::server {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxDim = int64_t{1} << 31;

constexpr char kModelFile[] = "model.onnx";
constexpr char kTableFile[] = "calibration.txt";
constexpr char kTunedFile[] = "decisions.txt";
constexpr char kGoldenFolder[] = "golden";
constexpr char kConfigFile[] = "model.yaml";

bool IsFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

YamlType<Precision> PinType() {
  return YamlEnum<Precision>(
      {{"int8", Precision::kInt8}, {"bf16", Precision::kBf16}, {"fp32", Precision::kFp32}});
}

YamlType<std::vector<float>> ChannelsType() { return YamlList(YamlNumber()); }

absl::StatusOr<FreeDimConfig> ReadFreeDim(const YamlNode& node) {
  FreeDimConfig dim;
  RETURN_IF_ERROR(ReadYamlMap(node, {Into("max", dim.max, YamlInteger(1, kMaxDim)),
                                     Into("buckets", dim.buckets, YamlList(YamlInteger(1, kMaxDim))),
                                     Into("pad", dim.pad, YamlNumber())}));
  if (std::ranges::adjacent_find(dim.buckets, std::greater_equal()) != dim.buckets.end())
    return node.Error("buckets that do not ascend", "each larger than the one before it");
  if (dim.max && !dim.buckets.empty() && dim.buckets.back() < *dim.max)
    return node.Error(absl::StrCat("max ", *dim.max),
                      absl::StrCat("at most the largest bucket, which is ", dim.buckets.back()));
  return dim;
}

absl::StatusOr<InputConfig> ReadInput(const YamlNode& node) {
  InputConfig input;
  const auto dims = [&](const YamlNode& value) {
    return ReadYamlNames(value, [&](const std::string& symbol, const YamlNode& dim) -> absl::Status {
      ASSIGN_OR_RETURN(input.dims[symbol], ReadFreeDim(dim));
      return absl::OkStatus();
    });
  };
  RETURN_IF_ERROR(ReadYamlMap(
      node, {Into("dtype", input.dtype,
                  YamlEnum<InputConfig::DType>(
                      {{"float32", InputConfig::DType::kFloat32}, {"uint8", InputConfig::DType::kUint8}})),
             Into("layout", input.layout,
                  YamlEnum<InputConfig::Layout>(
                      {{"nchw", InputConfig::Layout::kNchw}, {"nhwc", InputConfig::Layout::kNhwc}})),
             Into("mean", input.mean, ChannelsType()),
             Into("scale", input.scale, ChannelsType()),
             {"dims", dims}}));
  if (std::find(input.scale.begin(), input.scale.end(), 0.0f) != input.scale.end())
    return node.Error("scale 0", "a factor that keeps the image");
  if (input.mean.size() > 1 && input.scale.size() > 1 && input.mean.size() != input.scale.size())
    return node.Error(absl::StrCat(input.mean.size(), " means and ", input.scale.size(), " scales"),
                      "one for all channels or one a channel");
  return input;
}

absl::StatusOr<OutputConfig> ReadOutput(const YamlNode& node, const fs::path& dir) {
  OutputConfig output;
  const auto labels = [&](const YamlNode& value) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string name, YamlString()(value));
    output.labels = name;
    const absl::Status inside = CheckFileBeneath(dir, name);
    if (absl::IsNotFound(inside)) return value.Unexpected("a file in the model directory");
    return WithContext(inside, absl::StrCat(value.where, ": ", value.key));
  };
  RETURN_IF_ERROR(ReadYamlMap(node, {{"labels", labels}}));
  return output;
}

absl::StatusOr<BatchingConfig> ReadBatching(const YamlNode& node) {
  BatchingConfig batching;
  RETURN_IF_ERROR(ReadYamlMap(node, {Into("max_batch", batching.max_batch_rows, YamlInteger(1, kMaxRows)),
                                     Into("max_delay", batching.max_delay, YamlDuration()),
                                     Into("max_queue", batching.max_queue_rows, YamlInteger(1, kMaxRows)),
                                     Into("weight", batching.weight, YamlInteger(1, 1000))}));
  if (batching.max_queue_rows < batching.max_batch_rows)
    return node.Error(absl::StrCat("max_queue ", batching.max_queue_rows),
                      absl::StrCat("at least max_batch, which is ", batching.max_batch_rows));
  return batching;
}

absl::StatusOr<Repairs> ReadRepairs(const YamlNode& node) {
  Repairs repairs;
  RETURN_IF_ERROR(ReadYamlMap(node, {Into("equalization", repairs.equalization, YamlBool()),
                                     Into("bias_correction", repairs.bias_correction, YamlBool())}));
  return repairs;
}

absl::StatusOr<RecordConfig> ReadRecord(const YamlNode& node, const fs::path& dir) {
  RecordConfig record;
  std::string folder;
  RETURN_IF_ERROR(ReadYamlMap(
      node, {Into("rows", record.rows, YamlInteger(1, kMaxRows)), Into("dir", folder, YamlString())}));
  if (folder.empty()) return node.Error("no dir", "a folder to write to");
  record.dir = dir / folder;
  return record;
}

absl::StatusOr<GuardConfig> ReadGuard(const YamlNode& node) {
  GuardConfig guard;
  std::vector<std::pair<std::string, Metric>> metrics;
  for (const auto& [metric, name] : kMetricNames) metrics.emplace_back(name, metric);
  RETURN_IF_ERROR(ReadYamlMap(node, {Into("max_drop", guard.max_drop, YamlShare()),
                                     Into("metric", guard.metric, YamlEnum(std::move(metrics))),
                                     Into("on_failure", guard.on_failure,
                                          YamlEnum<OnGuardFailure>({{"fallback", OnGuardFailure::kFallback},
                                                                    {"refuse", OnGuardFailure::kRefuse},
                                                                    {"fp32", OnGuardFailure::kFp32}})),
                                     Into("time", guard.time, YamlDuration())}));
  return guard;
}

absl::StatusOr<ShadowConfig> ReadShadow(const YamlNode& node) {
  ShadowConfig shadow;
  RETURN_IF_ERROR(
      ReadYamlMap(node, {Into("rate", shadow.rate, YamlShare()), Into("cpu", shadow.cpu, YamlShare())}));
  if (shadow.cpu == 0) return node.Error("cpu 0%", "more; rate 0% is what turns it off");
  return shadow;
}

YamlType<std::string> RangeType() {
  std::vector<std::pair<std::string, std::string>> words;
  for (const char* word : {"auto", "min_max", "percentile", "entropy", "mse"}) words.emplace_back(word, word);
  return YamlEnum(std::move(words));
}

absl::Status ReadModelYaml(const YamlNode& root, ModelConfig& config) {
  const auto instances = [&](const YamlNode& node) -> absl::Status {
    ASSIGN_OR_RETURN(config.instances, CountType()(node));
    return absl::OkStatus();
  };
  const auto inputs = [&](const YamlNode& node) {
    return ReadYamlNames(node, [&](const std::string& name, const YamlNode& value) -> absl::Status {
      ASSIGN_OR_RETURN(config.inputs[name], ReadInput(value));
      return absl::OkStatus();
    });
  };
  const auto outputs = [&](const YamlNode& node) {
    return ReadYamlNames(node, [&](const std::string& name, const YamlNode& value) -> absl::Status {
      ASSIGN_OR_RETURN(config.outputs[name], ReadOutput(value, config.dir));
      return absl::OkStatus();
    });
  };
  const auto layers = [&](const YamlNode& node) {
    return ReadYamlNames(node, [&](const std::string& pattern, const YamlNode& value) -> absl::Status {
      ASSIGN_OR_RETURN(config.layers[pattern], PinType()(value));
      return absl::OkStatus();
    });
  };
  const auto record = [&](const YamlNode& node) -> absl::Status {
    ASSIGN_OR_RETURN(config.record, ReadRecord(node, config.dir));
    return absl::OkStatus();
  };
  return ReadYamlMap(root, {Into("name", config.name, ModelNameType()),
                            Into("precision", config.precision, PrecisionType()),
                            {"inputs", inputs},
                            {"outputs", outputs},
                            Into("batching", config.batching, YamlType<BatchingConfig>(ReadBatching)),
                            Into("plan_bytes", config.plan_bytes, YamlBytes(1 << 20, int64_t{1} << 50)),
                            {"instances", instances},
                            {"layers", layers},
                            Into("range", config.range, RangeType()),
                            Into("repairs", config.repairs, YamlType<Repairs>(ReadRepairs)),
                            Into("guard", config.guard, YamlType<GuardConfig>(ReadGuard)),
                            Into("shadow", config.shadow, YamlType<ShadowConfig>(ReadShadow)),
                            {"record", record}});
}

// `path` where something is there.
fs::path IfThere(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error) ? path : fs::path();
}

absl::StatusOr<VersionFiles> ReadVersion(int64_t version, const fs::path& dir) {
  VersionFiles files{.version = version, .model = dir / kModelFile};
  files.tuned = IfThere(dir / kTunedFile);
  files.golden = IfThere(dir / kGoldenFolder);
  if (!IsFile(files.model))
    return absl::NotFoundError(
        absl::StrCat("version directory '", dir.string(), "': no ", kModelFile, ", expected one"));
  // Whatever stands in the table's place but is none would leave the model in FP32 unnoticed.
  std::error_code error;
  const fs::file_status table = fs::symlink_status(dir / kTableFile, error);
  if (table.type() == fs::file_type::not_found) return files;
  if (!IsFile(dir / kTableFile))
    return absl::InvalidArgumentError(absl::StrCat("version directory '", dir.string(), "': ", kTableFile,
                                                   " is no regular file, expected one or none"));
  files.table = dir / kTableFile;
  return files;
}

// The number that a version directory's name says; an error for a name of digits that is not one.
absl::StatusOr<int64_t> VersionOf(const fs::path& dir) {
  const std::string name = dir.filename().string();
  int64_t version = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), version);
  if (error != std::errc() || end != name.data() + name.size() || version < 1 ||
      absl::StrCat(version) != name)
    return absl::InvalidArgumentError(absl::StrCat("version directory '", dir.string(), "': '", name,
                                                   "', expected a number from 1 without leading zeros"));
  return version;
}

absl::StatusOr<std::vector<VersionFiles>> ReadVersions(const fs::path& dir) {
  std::vector<VersionFiles> versions;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (name.find_first_not_of("0123456789") != std::string::npos || !it->is_directory(ignored)) continue;
    ASSIGN_OR_RETURN(const int64_t version, VersionOf(it->path()));
    ASSIGN_OR_RETURN(VersionFiles files, ReadVersion(version, it->path()));
    versions.push_back(std::move(files));
  }
  if (error)
    return absl::UnavailableError(absl::StrCat("model directory '", dir.string(), "': ", error.message()));
  if (versions.empty()) {
    if (!IsFile(dir / kModelFile))
      return absl::NotFoundError(absl::StrCat("model directory '", dir.string(), "': no ", kModelFile,
                                              " and no version directories, expected one of both"));
    ASSIGN_OR_RETURN(VersionFiles files, ReadVersion(1, dir));
    return std::vector{std::move(files)};
  }
  for (const char* file : {kModelFile, kTableFile})
    if (IsFile(dir / file))
      return absl::InvalidArgumentError(
          absl::StrCat("model directory '", dir.string(), "': ", file,
                       " beside version directories, expected it in one of them"));
  std::sort(versions.begin(), versions.end(),
            [](const VersionFiles& a, const VersionFiles& b) { return a.version < b.version; });
  return versions;
}

}  // namespace

absl::StatusOr<ModelConfig> ReadModelDirectory(const fs::path& dir) {
  std::error_code error;
  if (!fs::is_directory(dir, error))
    return absl::NotFoundError(
        absl::StrCat("model directory '", dir.string(), "': not found, expected a directory"));
  ModelConfig config;
  config.dir = dir;
  if (IsFile(dir / "model.yml"))
    return absl::InvalidArgumentError(
        absl::StrCat("model directory '", dir.string(), "': model.yml, expected ", kConfigFile));
  if (const fs::path file = dir / kConfigFile; fs::exists(file, error)) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxConfigBytes));
    ASSIGN_OR_RETURN(const YamlNode root, ParseYaml(text, file.string()));
    RETURN_IF_ERROR(ReadModelYaml(root, config));
  }
  if (config.name.empty()) {
    config.name = fs::canonical(dir, error).filename().string();
    if (!IsModelName(config.name))
      return absl::InvalidArgumentError(absl::StrCat("model directory '", dir.string(), "': name '",
                                                     config.name, "', expected ", kModelNameRule,
                                                     " or a name in ", kConfigFile));
  }
  ASSIGN_OR_RETURN(config.versions, ReadVersions(dir));
  for (VersionFiles& files : config.versions)
    if (files.golden.empty()) files.golden = IfThere(dir / kGoldenFolder);
  return config;
}

}  // namespace hachi::server
