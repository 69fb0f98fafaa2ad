#include "engine/tune/tune.h"

#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/budget.h"
#include "engine/cpu/isa.h"
#include "engine/tune/golden.h"

namespace hachi {
namespace {

// Words of the log.
constexpr char kFp32Key[] = "fp32", kRate[] = "rate", kPlain[] = "plain";

// What measurements depend on beside the candidate, as one hash.
absl::StatusOr<std::string> SubjectOf(const TuneOptions& options, const std::string& model_sha256) {
  ASSIGN_OR_RETURN(std::vector<std::filesystem::path> files, GoldenFiles(options.samples));
  for (const auto& file : {options.labels, options.load.table})
    if (!file.empty()) files.push_back(file);
  std::string head = absl::StrCat(HACHI_VERSION, " ", std::string(NameOf(DetectIsa())), " ", HasBf16(), " ",
                                  CpuBudget(), " ", options.load.threads, " ", options.batch_rows, " ",
                                  options.max_rows, " ", std::string(NameOf(options.metric)), " ",
                                  options.absolute, " ", absl::FormatDuration(options.speed_time), " ",
                                  options.load.range_method, "\n", model_sha256);
  for (const auto& [pattern, precision] : options.load.layers)
    absl::StrAppend(&head, "\n", pattern, " ", std::string(NameOf(precision)));
  return Sha256Of(head, files);
}

absl::StatusOr<Evaluator::Measured> MeasureFp32(const Evaluator& evaluator, TrialLog* log) {
  if (log != nullptr)
    if (const auto known = log->FindTrial(kFp32Key)) return *known;
  ASSIGN_OR_RETURN(const Evaluator::Measured measured, evaluator.MeasureFp32());
  if (log != nullptr) RETURN_IF_ERROR(log->AddTrial(kFp32Key, measured));
  return measured;
}

// The layers, with the costs that the log remembers: a search that goes on asks for what it asked before.
absl::StatusOr<std::vector<Layer>> LayersOf(const Evaluator& evaluator, TrialLog* log) {
  ASSIGN_OR_RETURN(std::vector<Layer> layers, evaluator.Layers());
  for (size_t i = 0; log != nullptr && i < layers.size(); ++i) {
    if (const auto known = log->FindNumber("cost", layers[i].name))
      layers[i].cost = absl::Seconds(*known);
    else
      RETURN_IF_ERROR(log->AddNumber("cost", layers[i].name, absl::ToDoubleSeconds(layers[i].cost)));
  }
  if (!layers.empty()) return layers;
  return absl::FailedPreconditionError("no layer runs in INT8 by the rules, expected some to decide");
}

// INT8 as it is, and with every layer out, so that there is something to fall back to; then the strategy.
absl::Status RunStrategy(const Strategy& strategy, TuneSearch& search) {
  RETURN_IF_ERROR(search.Try(search.plain()).status());
  std::vector<size_t> all(search.layers().size());
  std::iota(all.begin(), all.end(), size_t{0});
  RETURN_IF_ERROR(search.Try(Without(search, search.plain(), all)).status());
  return strategy.run(search);
}

std::string Remarks(const TuneOptions& options, const TuneResult& result) {
  const Evaluator::Measured& best = result.best->measured;
  return absl::StrFormat(
      "# hachi tune: the best of %d trials (%s, seed %d) for %s\n"
      "# %s %.4f, loses %.2f %% of at most %.2f %%; %.1f rows/s, FP32 %.1f; %d bytes, FP32 %d\n",
      result.trials.size(), options.strategy->name, options.seed,
      options.objective == Objective::kThroughput ? "throughput" : "memory", NameOf(result.metric),
      best.score.value, 100 * best.score.drop, 100 * options.max_drop, best.throughput_per_s,
      result.fp32.throughput_per_s, best.bytes, result.fp32.bytes);
}

void Finish(const TuneOptions& options, const TuneSearch& search, const std::string& model_sha256,
            TuneResult& result) {
  result.trials = search.trials();
  if (search.best() == nullptr) return;
  result.best = &result.trials[static_cast<size_t>(search.best()->id - 1)];
  const Candidate& candidate = result.best->candidate;
  result.decisions = {.model_sha256 = model_sha256,
                      .range = candidate.range,
                      .repairs = candidate.repairs,
                      .decisions = candidate.ToDecisions(Origin::kTune),
                      .remarks = Remarks(options, result)};
}

// What trials are compared with is remembered too, so that a search that goes on measures in its unit.
absl::StatusOr<std::unique_ptr<Evaluator>> CreateEvaluator(const TuneOptions& options,
                                                           const ModelSource& source, TrialLog* log) {
  Evaluator::Options evaluator{.source = &source,
                               .samples = options.samples,
                               .labels = options.labels,
                               .max_rows = options.max_rows,
                               .load = options.load,
                               .metric = options.metric,
                               .absolute = options.absolute,
                               .origin = Origin::kTune,
                               .batch_rows = options.batch_rows,
                               .speed_time = options.speed_time};
  evaluator.load.precision = Precision::kInt8;
  evaluator.load.tuned.clear();
  const auto known = log == nullptr ? std::nullopt : log->FindNumber(kRate, kPlain);
  evaluator.plain_rate = known.value_or(0);
  ASSIGN_OR_RETURN(auto created, Evaluator::Create(std::move(evaluator)));
  if (log != nullptr && !known) RETURN_IF_ERROR(log->AddNumber(kRate, kPlain, created->plain_rate()));
  return created;
}

TuneSearch::Options SearchOptionsOf(const TuneOptions& options, const Evaluator& evaluator,
                                    std::vector<Layer> layers, TrialLog* log) {
  return {.plain = evaluator.plain(),
          .layers = std::move(layers),
          .measure = [&](const Candidate& candidate) { return evaluator.Measure(candidate); },
          .noise_of = [&](std::span<const Candidate> candidates) { return evaluator.NoiseOf(candidates); },
          .throughput_of = [&](const Candidate& candidate) { return evaluator.ThroughputOf(candidate); },
          .max_drop = evaluator.scorer().Budget(options.max_drop),
          .objective = options.objective,
          .strategy = std::string(options.strategy->name),
          .seed = options.seed,
          .max_trials = options.max_trials,
          .stop = options.stop,
          .progress = options.progress,
          .log = log};
}

absl::StatusOr<std::optional<TrialLog>> OpenLog(const TuneOptions& options, const std::string& model_sha256) {
  if (options.log.empty()) return std::nullopt;
  ASSIGN_OR_RETURN(const std::string subject, SubjectOf(options, model_sha256));
  ASSIGN_OR_RETURN(TrialLog log, TrialLog::Open(options.log, subject));
  return log;
}

absl::StatusOr<TuneResult> TuneWith(const TuneOptions& options) {
  ASSIGN_OR_RETURN(const auto source, ImportModel(options.load.model));
  ASSIGN_OR_RETURN(std::optional<TrialLog> opened, OpenLog(options, source->sha256()));
  TrialLog* const log = opened ? &*opened : nullptr;
  ASSIGN_OR_RETURN(const auto evaluator, CreateEvaluator(options, *source, log));
  TuneResult result{.metric = evaluator->scorer().metric(), .plain = evaluator->plain()};
  ASSIGN_OR_RETURN(result.fp32, MeasureFp32(*evaluator, log));
  ASSIGN_OR_RETURN(std::vector<Layer> layers, LayersOf(*evaluator, log));
  TuneSearch::Options searched = SearchOptionsOf(options, *evaluator, std::move(layers), log);
  searched.until = Clock::Real().Now() + options.time;
  TuneSearch search(std::move(searched));
  result.ended = RunStrategy(*options.strategy, search);
  if (!result.ended.ok() && !absl::IsCancelled(result.ended)) return result.ended;
  RETURN_IF_ERROR(search.RunFinal());
  Finish(options, search, source->sha256(), result);
  return result;
}

}  // namespace

absl::StatusOr<TuneResult> Tune(const TuneOptions& options) {
  return NoThrow([&] { return TuneWith(options); });
}

}  // namespace hachi
