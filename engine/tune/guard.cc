#include "engine/tune/guard.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "engine/decide/decisions.h"
#include "engine/tune/evaluator.h"
#include "engine/tune/guard_cache.h"
#include "engine/tune/search.h"

namespace hachi {
namespace {

// Looks for layers to take out, for as long as the guard may.
class GuardSearch final : public LayerSearch {
 public:
  GuardSearch(const Evaluator& evaluator, std::vector<Layer> layers, const GuardOptions& options)
      : evaluator_(evaluator),
        layers_(std::move(layers)),
        options_(options),
        until_(Clock::Real().Now() + options.time) {}

  const std::vector<Layer>& layers() const override { return layers_; }
  absl::StatusOr<std::vector<double>> NoiseOf(std::span<const Candidate> candidates) override {
    return evaluator_.NoiseOf(candidates);
  }
  absl::StatusOr<bool> IsGood(const Candidate& candidate) override {
    ASSIGN_OR_RETURN(const Evaluator::Measured measured, evaluator_.Measure(candidate));
    drops_[candidate.Key()] = measured.score.drop;
    return measured.score.drop <= evaluator_.scorer().Budget(options_.max_drop);
  }
  double likely_noise() const override { return NoiseOfDrop(options_.max_drop); }
  bool is_hurried() const override { return Clock::Real().Now() >= until_; }

  // REQUIRES: IsGood was asked of it.
  double DropOf(const Candidate& candidate) const { return drops_.at(candidate.Key()); }

 private:
  const Evaluator& evaluator_;
  const std::vector<Layer> layers_;
  const GuardOptions& options_;
  const absl::Time until_;
  std::map<std::string, double> drops_;  // by key
};

// Takes the worst layers out; the whole model runs in FP32 where that is not enough.
absl::Status FallBack(const Evaluator& evaluator, const GuardOptions& options, GuardVerdict& verdict) {
  ASSIGN_OR_RETURN(std::vector<Layer> layers, evaluator.Layers());
  GuardSearch search(evaluator, std::move(layers), options);
  ASSIGN_OR_RETURN(const TakenOut taken, TakeOutWorstLayers(evaluator.plain(), search));
  GuardReport& report = verdict.report;
  report.layers = taken.layers;
  if (options.on_failure == OnGuardFailure::kRefuse) {
    report.result = GuardResult::kRefused;
    report.served_drop = report.drop;
  } else if (options.on_failure == OnGuardFailure::kFp32 || !taken.good) {
    report.result = GuardResult::kFp32;
    report.served_drop = 0;
  } else {
    report.result = GuardResult::kFellBack;
    report.served_drop = search.DropOf(taken.candidate);
    verdict.decisions = taken.candidate.ToDecisions(Origin::kGuard).ToText();
  }
  return absl::OkStatus();
}

absl::StatusOr<GuardVerdict> Judge(const ModelSource& source, const LoadOptions& options) {
  ASSIGN_OR_RETURN(const auto evaluator, Evaluator::Create({.source = &source,
                                                            .samples = options.guard.golden,
                                                            .load = options,
                                                            .metric = options.guard.metric,
                                                            .origin = Origin::kGuard}));
  ASSIGN_OR_RETURN(const Evaluator::Measured plain, evaluator->Measure(evaluator->plain()));
  GuardVerdict verdict;
  verdict.report.metric = evaluator->scorer().metric();
  verdict.report.drop = verdict.report.served_drop = plain.score.drop;
  if (plain.score.drop > evaluator->scorer().Budget(options.guard.max_drop))
    RETURN_IF_ERROR(FallBack(*evaluator, options.guard, verdict));
  return verdict;
}

// Loads what the verdict says.
absl::StatusOr<std::unique_ptr<Model>> Serve(const ModelSource& source, LoadOptions options,
                                             const GuardVerdict& verdict) {
  const GuardReport& report = verdict.report;
  if (report.result == GuardResult::kRefused)
    return absl::FailedPreconditionError(absl::StrCat("guard: ", ToText(report, options.guard.max_drop)));
  if (report.result == GuardResult::kFp32) options.precision = Precision::kFp32;
  absl::StrAppend(&options.decisions, verdict.decisions);
  return source.Compile(options);
}

// The verdict that is remembered, or a new one.
absl::StatusOr<GuardVerdict> FindOrJudge(const ModelSource& source, const LoadOptions& options) {
  const GuardOptions& guard = options.guard;
  if (guard.cache.empty()) return Judge(source, options);
  const GuardCache cache(guard.cache);
  ASSIGN_OR_RETURN(const std::string key, GuardCache::KeyOf(options, source.sha256()));
  if (auto known = cache.Find(key)) return *std::move(known);
  ASSIGN_OR_RETURN(GuardVerdict verdict, Judge(source, options));
  if (const absl::Status written = cache.Remember(key, verdict); !written.ok())
    LogWarning(WithContext(written, "guard cache").ToString());
  return verdict;
}

absl::StatusOr<std::unique_ptr<Model>> LoadAndJudge(const LoadOptions& options) {
  ASSIGN_OR_RETURN(const auto source, ImportModel(options.model));
  if (options.precision == Precision::kAuto && options.table.empty()) {
    // Whether the file itself is in INT8.
    ASSIGN_OR_RETURN(auto model, source->Compile(options));
    if (model->info().precision != Precision::kInt8) return model;
  }
  const auto verdict = FindOrJudge(*source, options);
  if (!verdict.ok()) return WithContext(verdict.status(), "guard");
  if (options.on_guard) options.on_guard(verdict->report);
  return Serve(*source, options, *verdict);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> LoadGuarded(const LoadOptions& options) {
  const bool is_real = options.precision == Precision::kBf16 || options.precision == Precision::kFp32;
  if (options.guard.golden.empty() || is_real) return LoadModel(options);
  return NoThrow([&] { return LoadAndJudge(options); });
}

}  // namespace hachi
