#include "engine/tune/answers.h"

#include <time.h>

#include <algorithm>
#include <barrier>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "engine/base/clock.h"
#include "engine/base/mutex.h"
#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/tensor/half.h"

namespace hachi {
namespace {

// Odd, so that one of them is the median. Guessed.
constexpr size_t kRounds = 7;

// Elements as real numbers.
std::vector<float> Numbers(DType dtype, std::span<const std::byte> bytes) {
  std::vector<float> numbers(bytes.size() / SizeOf(dtype));
  const bool visited = VisitDType(dtype, [&](auto zero) {
    using T = decltype(zero);
    std::transform(reinterpret_cast<const T*>(bytes.data()),
                   reinterpret_cast<const T*>(bytes.data()) + numbers.size(), numbers.begin(),
                   [](T element) { return static_cast<float>(element); });
  });
  if (visited) return numbers;
  const auto* halves = reinterpret_cast<const uint16_t*>(bytes.data());
  std::transform(halves, halves + numbers.size(), numbers.begin(),
                 [&](uint16_t half) { return dtype == DType::kF16 ? FloatOfF16(half) : FloatOfBf16(half); });
  return numbers;
}

// Runs batches of rows on the calling thread, whose team is ready.
class BatchRunner {
 public:
  BatchRunner(const Model& model, std::span<const GoldenRow> rows)
      : model_(model), rows_(rows), context_(NewRunContext()) {}

  // Runs `count` rows from `first` on, or as many of those as have the first one's shapes; how many.
  absl::StatusOr<size_t> Run(size_t first, size_t count) {
    const GoldenRow& row = rows_[first];
    if (shapes_ == nullptr || row.shapes != known_ || decides_) {
      ASSIGN_OR_RETURN(shapes_, ShapesOfRow(model_, row));
      known_ = row.shapes;
      decides_ = std::ranges::any_of(model_.signature().inputs, &TensorSignature::decides);
    }
    size_t end = first + 1;
    while (end < std::min(first + count, rows_.size()) && !decides_ && rows_[end].shapes == known_) ++end;
    if (const auto most = static_cast<size_t>(shapes_->plans->largest_rows()); end - first > most) {
      RETURN_IF_ERROR(model_.MakePlans(*shapes_->plans, static_cast<int64_t>(end - first)));
    }
    requests_.resize(end - first);
    outputs_.resize(end - first);
    for (size_t i = first; i < end; ++i) Fill(rows_[i], outputs_[i - first], requests_[i - first]);
    RETURN_IF_ERROR(model_.Run(*context_, requests_).status());
    return end - first;
  }

  // Runs `count` rows from `first` on, and begins anew behind the last; of no count, as many as there is time
  // for, but at least a batch. How many.
  absl::StatusOr<size_t> RunOn(size_t first, size_t batch, size_t count, absl::Time until) {
    size_t done = 0;
    while (done == 0 || (count > 0 ? done < count : Clock::Real().Now() < until)) {
      ASSIGN_OR_RETURN(const size_t ran, Run((first + done) % rows_.size(), batch));
      done += ran;
    }
    return done;
  }

  // Of one row of the last run.
  Answer AnswerOf(size_t row) const {
    Answer answer;
    for (size_t i = 0; i < outputs_[row].size(); ++i) {
      answer.outputs.push_back(Numbers(model_.signature().outputs[i].dtype, outputs_[row][i]));
      answer.shapes.push_back(shapes_->outputs[i]);
    }
    return answer;
  }

 private:
  void Fill(const GoldenRow& row, std::vector<std::vector<std::byte>>& outputs, Rows& request) const {
    request = {.count = 1, .shapes = shapes_};
    for (const std::span<const std::byte> input : row.inputs) request.inputs.push_back({input});
    outputs.resize(shapes_->output_bytes.size());
    for (size_t i = 0; i < outputs.size(); ++i) {
      outputs[i].resize(shapes_->output_bytes[i]);
      request.outputs.emplace_back(outputs[i]);
    }
  }

  const Model& model_;
  const std::span<const GoldenRow> rows_;
  const std::unique_ptr<RunContext> context_;
  std::shared_ptr<const RowShapes> shapes_;
  std::vector<Shape> known_;
  bool decides_ = false;
  std::vector<Rows> requests_;
  std::vector<std::vector<std::vector<std::byte>>> outputs_;  // by row and output
};

// Calls fn(worker) on as many threads as there are workers; the first error.
absl::Status OnWorkers(const RunSetup& setup, const std::function<absl::Status(int)>& fn) {
  std::vector<absl::Status> statuses(static_cast<size_t>(setup.workers));
  std::vector<std::thread> threads;
  for (int worker = 0; worker < setup.workers; ++worker)
    threads.emplace_back([&, worker] {
      SetTeam(setup.threads);
      statuses[static_cast<size_t>(worker)] = NoThrow([&] { return fn(worker); });
    });
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

// A clock that runs while a worker works: a thread alone is timed by what it had of a CPU, so that it does
// not count where others had it. Threads of a team wait for each other, which is work.
absl::Time TimeOfWork(const RunSetup& setup) {
  if (setup.threads > 1) return Clock::Real().Now();
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return absl::TimeFromTimespec(time);
}

// Whether plans are made as rows come.
bool IsFree(const Model& model) {
  return std::ranges::any_of(model.signature().inputs, &TensorSignature::is_free);
}

// The part of `count` rows that is a worker's.
std::pair<size_t, size_t> PartOf(size_t count, int worker, int workers) {
  const auto at = [&](int i) { return count * static_cast<size_t>(i) / static_cast<size_t>(workers); };
  return {at(worker), at(worker + 1)};
}

}  // namespace

absl::StatusOr<std::shared_ptr<const RowShapes>> ShapesOfRow(const Model& model, const GoldenRow& row) {
  std::vector<InputChunks> values;
  for (const std::span<const std::byte> input : row.inputs) values.push_back({input});
  ASSIGN_OR_RETURN(auto shapes, model.ShapesOf(row.shapes, values));
  if (shapes->measured)
    return absl::UnimplementedError(
        "samples: how much an output holds shows only when it runs, expected outputs to compare by place");
  if (shapes->plans->largest_rows() == 0) RETURN_IF_ERROR(model.MakePlans(*shapes->plans, 1));
  return shapes;
}

absl::StatusOr<std::vector<Answer>> AnswersOf(const Model& model, std::span<const GoldenRow> rows,
                                              const RunSetup& setup) {
  std::vector<Answer> answers(rows.size());
  const absl::Status ran_all = OnWorkers(setup, [&](int worker) -> absl::Status {
    const auto [first, end] = PartOf(rows.size(), worker, setup.workers);
    BatchRunner runner(model, rows);
    for (size_t i = first; i < end;) {
      ASSIGN_OR_RETURN(const size_t ran,
                       runner.Run(i, std::min(end - i, static_cast<size_t>(setup.batch_rows))));
      for (size_t row = 0; row < ran; ++row) answers[i + row] = runner.AnswerOf(row);
      i += ran;
    }
    return absl::OkStatus();
  });
  RETURN_IF_ERROR(ran_all);
  return answers;
}

absl::StatusOr<std::vector<std::vector<double>>> RatesOf(std::span<const Model* const> models,
                                                         std::span<const GoldenRow> rows,
                                                         const RunSetup& setup, absl::Duration time) {
  const auto batch = static_cast<size_t>(setup.batch_rows);
  const absl::Duration turn_time = time / static_cast<double>(kRounds * models.size());
  std::vector<std::vector<double>> rates(kRounds, std::vector<double>(models.size()));
  Mutex mutex;
  std::barrier together(setup.workers);
  const absl::Status ran_all = OnWorkers(setup, [&](int worker) -> absl::Status {
    const absl::Cleanup leave = [&] { together.arrive_and_drop(); };
    const auto [first, end] = PartOf(rows.size(), worker, setup.workers);
    std::deque<BatchRunner> runners;
    for (const Model* model : models) {
      runners.emplace_back(*model, rows);
      RETURN_IF_ERROR(runners.back().RunOn(first, batch, IsFree(*model) ? end - first : 1, {}).status());
    }
    size_t at = first;
    for (size_t round = 0; round < kRounds; ++round) {
      size_t count = 0;  // the first one's turn says it
      for (size_t turn = 0; turn < models.size(); ++turn) {
        const size_t model = round % 2 == 0 ? turn : models.size() - 1 - turn;
        together.arrive_and_wait();
        const absl::Time until = Clock::Real().Now() + turn_time;
        const absl::Time start = TimeOfWork(setup);
        ASSIGN_OR_RETURN(count, runners[model].RunOn(at, batch, count, until));
        const double rate = static_cast<double>(count) / absl::ToDoubleSeconds(TimeOfWork(setup) - start);
        MutexLock lock(mutex);
        rates[round][model] += rate;
      }
      at = (at + count) % rows.size();
    }
    return absl::OkStatus();
  });
  RETURN_IF_ERROR(ran_all);
  return rates;
}

}  // namespace hachi
