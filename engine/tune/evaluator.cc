#include "engine/tune/evaluator.h"

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/budget.h"
#include "engine/cpu/team.h"

namespace hachi {
namespace {

// Rows that steer a search: enough to tell layers apart that lose much. Guessed.
constexpr size_t kProbes = 8;

constexpr int kProfiledRuns = 3;

// For samples that are as the model takes them, though clients send something else.
LoadOptions AsTheModelTakesIt(LoadOptions options) {
  for (auto& [name, input] : options.inputs) input = {.dims = std::move(input.dims)};
  return options;
}

absl::Status CheckAlike(std::span<const Answer> answers, const Scorer& scorer, std::span<const size_t> rows) {
  for (size_t i = 0; i < answers.size(); ++i)
    if (!scorer.IsLike(answers[i], rows[i]))
      return absl::UnimplementedError(
          absl::StrCat("samples: row ", rows[i],
                       " has an answer of another shape in INT8 than in FP32, expected "
                       "outputs to compare by place"));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Evaluator>> Evaluator::Create(Options options) {
  std::unique_ptr<Evaluator> evaluator(new Evaluator(std::move(options)));
  RETURN_IF_ERROR(evaluator->Prepare());
  return evaluator;
}

absl::Status Evaluator::Prepare() {
  LoadOptions& load = options_.load;
  load.max_batch_rows = options_.batch_rows;
  load.wide_threads = 0;
  load.on_pass = nullptr;
  ASSIGN_OR_RETURN(plain_.range, ParseRangeMethod(load.range_method));
  plain_.repairs = load.repairs;
  RETURN_IF_ERROR(ReadRows());
  setup_ = {.workers = std::max(1, CpuBudget() / load.threads),
            .threads = load.threads,
            .batch_rows = fp32_->signature().batched ? options_.batch_rows : 1};
  ASSIGN_OR_RETURN(std::vector<Answer> reference, AnswersOf(*fp32_, rows_, setup_));
  const size_t probes = std::min(rows_.size(), kProbes);
  for (size_t i = 0; i < probes; ++i) probes_.push_back(i * rows_.size() / probes);
  ASSIGN_OR_RETURN(
      scorer_, Scorer::Create(options_.metric, std::move(reference), golden_->labels(), options_.absolute));
  return options_.speed_time > absl::ZeroDuration() ? PreparePlain() : absl::OkStatus();
}

absl::Status Evaluator::PreparePlain() {
  ASSIGN_OR_RETURN(int8_, Compile(plain_.In(options_.load, options_.origin)));
  if (options_.plain_rate > 0) return absl::OkStatus();
  const Model* const plain = int8_.get();
  ASSIGN_OR_RETURN(const auto rates, RatesOf({&plain, 1}, rows_, setup_, options_.speed_time));
  for (const std::vector<double>& round : rates)
    options_.plain_rate = std::max(options_.plain_rate, round[0]);
  return absl::OkStatus();
}

absl::Status Evaluator::ReadRows() {
  LoadOptions fp32 = options_.load;
  fp32.precision = Precision::kFp32;
  ASSIGN_OR_RETURN(fp32_, Compile(fp32));
  std::vector<std::string> inputs;
  for (const TensorSignature& input : fp32_->signature().inputs) inputs.push_back(input.name);
  ASSIGN_OR_RETURN(golden_, GoldenSet::Read(options_.samples, options_.labels, inputs, options_.max_rows));
  auto rows = golden_->RowsFor(fp32_->signature());
  if (!rows.ok()) {
    ASSIGN_OR_RETURN(fp32_, Compile(AsTheModelTakesIt(fp32)));
    auto as_the_model = golden_->RowsFor(fp32_->signature());
    if (!as_the_model.ok()) return rows.status();
    rows = std::move(as_the_model);
    options_.load = AsTheModelTakesIt(std::move(options_.load));
  }
  rows_ = *std::move(rows);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Model>> Evaluator::Compile(const LoadOptions& options) const {
  // The team of the thread that asks stays as it is.
  absl::StatusOr<std::unique_ptr<Model>> model;
  std::thread([&] { model = options_.source->Compile(options); }).join();
  return model;
}

absl::StatusOr<Evaluator::Measured> Evaluator::Measure(const Candidate& candidate) const {
  if (int8_ != nullptr && candidate.Key() == plain_.Key()) return MeasureModel(*int8_);
  ASSIGN_OR_RETURN(const auto model, Compile(candidate.In(options_.load, options_.origin)));
  return MeasureModel(*model);
}

absl::StatusOr<Evaluator::Measured> Evaluator::MeasureModel(const Model& model) const {
  ASSIGN_OR_RETURN(const std::vector<Answer> answers, AnswersOf(model, rows_, setup_));
  std::vector<size_t> all(rows_.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  RETURN_IF_ERROR(CheckAlike(answers, *scorer_, all));
  Measured measured{.score = scorer_->Of(answers),
                    .bytes = model.info().weights_bytes + model.info().arena_bytes};
  if (options_.speed_time > absl::ZeroDuration()) {
    ASSIGN_OR_RETURN(measured.throughput_per_s, ThroughputOf(model, options_.speed_time));
  }
  return measured;
}

absl::StatusOr<std::vector<double>> Evaluator::NoiseOf(std::span<const Candidate> candidates) const {
  std::vector<GoldenRow> rows;
  for (const size_t row : probes_) rows.push_back(rows_[row]);
  const RunSetup alone = {.workers = 1, .threads = setup_.threads, .batch_rows = setup_.batch_rows};
  std::vector<absl::StatusOr<double>> noises(candidates.size(), 0.0);
  const auto measure = [&](size_t i) -> absl::StatusOr<double> {
    ASSIGN_OR_RETURN(const auto model, Compile(candidates[i].In(options_.load, options_.origin)));
    ASSIGN_OR_RETURN(const std::vector<Answer> answers, AnswersOf(*model, rows, alone));
    RETURN_IF_ERROR(CheckAlike(answers, *scorer_, probes_));
    return scorer_->Noise(answers, probes_);
  };
  for (size_t first = 0; first < candidates.size(); first += static_cast<size_t>(setup_.workers)) {
    std::vector<std::thread> threads;
    for (size_t i = first; i < std::min(candidates.size(), first + static_cast<size_t>(setup_.workers)); ++i)
      threads.emplace_back([&, i] { noises[i] = NoThrow([&] { return measure(i); }); });
    for (std::thread& thread : threads) thread.join();
  }
  std::vector<double> found;
  for (const auto& noise : noises) {
    RETURN_IF_ERROR(noise.status());
    found.push_back(*noise);
  }
  return found;
}

absl::StatusOr<double> Evaluator::ThroughputOf(const Model& model, absl::Duration time) const {
  if (&model == int8_.get()) return options_.plain_rate;
  const std::array models = {&model, static_cast<const Model*>(int8_.get())};
  ASSIGN_OR_RETURN(const auto rates, RatesOf(models, rows_, setup_, time));
  std::vector<double> ratios;
  for (const std::vector<double>& round : rates) ratios.push_back(round[0] / round[1]);
  std::ranges::nth_element(ratios, ratios.begin() + static_cast<int64_t>(ratios.size() / 2));
  return options_.plain_rate * ratios[ratios.size() / 2];
}

absl::StatusOr<double> Evaluator::ThroughputOf(const Candidate& candidate) const {
  constexpr int kMoreTime = 3;
  if (candidate.Key() == plain_.Key()) return options_.plain_rate;
  ASSIGN_OR_RETURN(const auto model, Compile(candidate.In(options_.load, options_.origin)));
  return ThroughputOf(*model, kMoreTime * options_.speed_time);
}

absl::StatusOr<std::vector<Layer>> Evaluator::Layers() const {
  ASSIGN_OR_RETURN(const auto plain, Compile(plain_.In(options_.load, options_.origin)));
  ASSIGN_OR_RETURN(const Decisions decisions, Decisions::Parse(plain->info().decisions));
  ASSIGN_OR_RETURN(const auto int8, StepTimes(*plain));
  ASSIGN_OR_RETURN(const auto fp32, StepTimes(*fp32_));
  ASSIGN_OR_RETURN(const auto shapes, ShapesOfRow(*plain, rows_[0]));
  ASSIGN_OR_RETURN(const std::vector<StepFacts> steps, plain->Steps(shapes.get(), /*rows=*/1));
  std::vector<Layer> layers;
  for (const StepFacts& step : steps) {
    const Decision* decision = decisions.Find(step.name);
    if (decision == nullptr || decision->precision != Precision::kInt8 ||
        decision->origin != Origin::kDefault)
      continue;
    const auto slower = fp32.find(step.name);
    const double cost = slower == fp32.end() ? 0 : slower->second - int8.at(step.name);
    layers.push_back({step.name, absl::Seconds(cost)});
  }
  return layers;
}

absl::StatusOr<std::map<std::string, double>> Evaluator::StepTimes(const Model& model) const {
  absl::StatusOr<std::vector<StepProfile>> profile;
  const auto measure = [&]() -> absl::StatusOr<std::vector<StepProfile>> {
    SetTeam(setup_.threads);
    const auto context = NewRunContext();
    ASSIGN_OR_RETURN(const auto shapes, ShapesOfRow(model, rows_[0]));
    return model.Profile(*context, shapes.get(), /*rows=*/1, kProfiledRuns);
  };
  std::thread([&] { profile = measure(); }).join();
  RETURN_IF_ERROR(profile.status());
  std::map<std::string, double> times;
  for (const StepProfile& step : *profile) times[step.name] += absl::ToDoubleSeconds(step.time);
  return times;
}

}  // namespace hachi
