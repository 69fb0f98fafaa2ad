#include "engine/tune/tune.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/base/text.h"
#include "server/commands/commands.h"
#include "server/commands/interruption.h"
#include "server/commands/model_argument.h"

namespace hachi::server {
namespace {

struct Arguments {
  std::string model, data, labels, output, max_drop = "1%", metric = "auto", objective = "throughput",
                                           strategy, time = "10m";
  bool absolute = false;
  uint64_t seed = 1;
  int64_t trials = 100, batch = 1, count = 0;
  int threads = 1;
};

absl::StatusOr<TuneOptions> OptionsOf(const Arguments& arguments) {
  TuneOptions options{
      .samples = arguments.data,
      .labels = arguments.labels,
      .metric = *ParseMetric(arguments.metric),
      .absolute = arguments.absolute,
      .objective = arguments.objective == "memory" ? Objective::kMemory : Objective::kThroughput,
      .seed = arguments.seed,
      .max_trials = arguments.trials,
      .batch_rows = arguments.batch,
      .stop = &Interruption::came};
  ASSIGN_OR_RETURN(options.load, ReadModelArgument(arguments.model));
  options.load.threads = arguments.threads;
  if (options.load.table.empty())
    return absl::InvalidArgumentError(
        absl::StrCat("model '", arguments.model, "': no calibration table, expected one beside it"));
  if (options.load.precision != Precision::kAuto && options.load.precision != Precision::kInt8)
    return absl::InvalidArgumentError(
        absl::StrCat("model '", arguments.model, "': precision ", std::string(NameOf(options.load.precision)),
                     ", expected auto or int8: what is decided is of what a calibration table quantizes"));
  const auto share = ParseShare(arguments.max_drop);
  if (!share)
    return absl::InvalidArgumentError(
        absl::StrCat("--max-drop: '", arguments.max_drop, "', expected a share from 0% to 100%, such as 1%"));
  options.max_drop = *share;
  if (!absl::ParseDuration(arguments.time, &options.time) || options.time <= absl::ZeroDuration())
    return absl::InvalidArgumentError(
        absl::StrCat("--time: '", arguments.time, "', expected a duration, such as 10m"));
  for (const Strategy& strategy : Strategies())
    if (strategy.name == arguments.strategy) options.strategy = &strategy;
  if (arguments.count > 0) options.max_rows = arguments.count;
  return options;
}

nlohmann::json ToJson(const Trial& trial, const Candidate& plain) {
  return {{"id", trial.id},
          {"strategy", trial.strategy},
          {"score", trial.measured.score.value},
          {"drop", trial.measured.score.drop},
          {"throughput_per_s", trial.measured.throughput_per_s},
          {"bytes", trial.measured.bytes},
          {"changes", trial.candidate.ChangesFrom(plain)},
          {"ok", trial.good}};
}

std::string JsonText(const Arguments& arguments, const TuneOptions& options, const TuneResult& result) {
  nlohmann::json trials = nlohmann::json::array();
  for (const Trial& trial : result.trials) trials.push_back(ToJson(trial, result.plain));
  const nlohmann::json best = result.best == nullptr ? nlohmann::json() : nlohmann::json(result.best->id);
  return nlohmann::json{{"model", options.load.name},
                        {"objective", arguments.objective},
                        {"metric", std::string(NameOf(result.metric))},
                        {"max_drop", options.max_drop},
                        {"seed", options.seed},
                        {"baseline",
                         {{"score", result.fp32.score.value},
                          {"throughput_per_s", result.fp32.throughput_per_s},
                          {"bytes", result.fp32.bytes}}},
                        {"trials", std::move(trials)},
                        {"best", best}}
             .dump(1) +
         "\n";
}

// One line over the last one, on a terminal.
void ShowProgress(const TuneSearch& search) {
  constexpr int kWidth = 30;
  const auto done = static_cast<int64_t>(search.trials().size());
  const auto filled = static_cast<size_t>(kWidth * done / search.max_trials());
  const Trial* best = search.best();
  absl::FPrintF(stderr, "\r[%s%s] %d of %d trials, %s\033[K", std::string(filled, '#'),
                std::string(kWidth - filled, ' '), done, search.max_trials(),
                best == nullptr
                    ? "none good yet"
                    : absl::StrFormat("best %d: loses %.2f %%, %.1f rows/s", best->id,
                                      100 * best->measured.score.drop, best->measured.throughput_per_s));
}

void Print(const TuneResult& result, const std::filesystem::path& output) {
  const auto print = [&](const char* what, const Evaluator::Measured& measured) {
    std::cout << absl::StrFormat("%-5s %s %.4f, loses %.2f %%, %.1f rows/s, %d bytes\n", what,
                                 NameOf(result.metric), measured.score.value, 100 * measured.score.drop,
                                 measured.throughput_per_s, measured.bytes);
  };
  print("fp32", result.fp32);
  print("int8", result.trials.front().measured);
  print("best", result.best->measured);
  for (const std::string& change : result.best->candidate.ChangesFrom(result.plain))
    std::cout << "  " << change << "\n";
  if (!result.ended.ok()) std::cout << "ended early: " << result.ended.message() << "\n";
  std::cout << output.string() << ": trial " << result.best->id << " of " << result.trials.size() << "\n";
}

absl::Status Run(const Arguments& arguments) {
  ASSIGN_OR_RETURN(TuneOptions options, OptionsOf(arguments));
  const std::filesystem::path output = arguments.output.empty()
                                           ? options.load.table.parent_path() / "decisions.txt"
                                           : std::filesystem::path(arguments.output);
  const std::filesystem::path folder = output.parent_path();
  options.log = folder / "tune.log";
  const bool on_terminal = isatty(STDERR_FILENO) == 1;
  if (on_terminal) options.progress = &ShowProgress;
  const Interruption interruption;
  const auto result = Tune(options);
  if (on_terminal) absl::FPrintF(stderr, "\r\033[K");
  const std::string what = absl::StrCat("model '", options.load.name, "'");
  if (!result.ok()) return WithContext(result.status(), what);
  RETURN_IF_ERROR(WriteFile(folder / "tune.json", JsonText(arguments, options, *result)));
  if (result->best == nullptr)
    return absl::FailedPreconditionError(
        absl::StrCat(what, ": none of ", result->trials.size(), " trials loses at most ", arguments.max_drop,
                     ", expected one; see tune.json",
                     result->ended.ok() ? "" : "; ended early: ", std::string(result->ended.message())));
  RETURN_IF_ERROR(WriteFile(output, result->decisions.ToText()));
  Print(*result, output);
  return absl::OkStatus();
}

void AddSearchOptions(CLI::App& app, Arguments& arguments) {
  std::vector<std::string> strategies;
  std::string about;
  for (const Strategy& strategy : Strategies()) {
    strategies.emplace_back(strategy.name);
    absl::StrAppend(&about, about.empty() ? "" : "; ", std::string(strategy.name), ": ",
                    std::string(strategy.description));
  }
  arguments.strategy = strategies.front();
  app.add_option("--strategy", arguments.strategy, about)
      ->check(CLI::IsMember(strategies))
      ->capture_default_str();
  app.add_option("--seed", arguments.seed, "Of what is left to chance")->capture_default_str();
  app.add_option("--trials", arguments.trials, "At most")
      ->check(CLI::Range(2, 1000000))
      ->capture_default_str();
  app.add_option("--time", arguments.time, "For trials, at most; 10m for instance")->capture_default_str();
  app.add_option("--batch", arguments.batch, "Rows a run")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--threads", arguments.threads, "Of each run; as many run at once as the CPU budget holds")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
}

std::function<absl::Status()> Add(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  std::vector<std::string> metrics;
  for (const auto& [metric, name] : kMetricNames) metrics.emplace_back(name);
  app.add_option("model", arguments->model,
                 "Model directory or .onnx file, with a calibration table beside it")
      ->required();
  app.add_option("--data", arguments->data,
                 "Samples, as calibrate takes them; others than the table was made of")
      ->required();
  app.add_option(
      "--labels", arguments->labels,
      "A class a row: a line each, or .npy (default: labels.txt or labels.npy in the folder of samples)");
  app.add_option("--max-drop", arguments->max_drop, "What may be lost of FP32's score")
      ->capture_default_str();
  app.add_flag("--absolute", arguments->absolute, "By labels, --max-drop is the difference of both scores");
  app.add_option("--metric", arguments->metric,
                 "By labels accuracy, top5 or f1; against FP32 agreement, cosine or snr")
      ->check(CLI::IsMember(metrics))
      ->capture_default_str();
  app.add_option("--objective", arguments->objective, "What the best has: most throughput or least memory")
      ->check(CLI::IsMember({"throughput", "memory"}))
      ->capture_default_str();
  app.add_option("--count", arguments->count, "Rows of the samples to run over, instead of all")
      ->check(CLI::PositiveNumber);
  app.add_option(
      "--output", arguments->output,
      "The decisions to write (default: decisions.txt beside the table); tune.json and tune.log go "
      "beside them, and what the log holds is not measured again");
  AddSearchOptions(app, *arguments);
  return [arguments] { return Run(*arguments); };
}

}  // namespace

const Command kTuneCommand = {
    "tune", "Searches the fastest or smallest plan that keeps accuracy, and writes its decisions", &Add};

}  // namespace hachi::server
