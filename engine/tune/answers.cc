#include "engine/tune/answers.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/clock.h"
#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/tensor/half.h"

namespace hachi {
namespace {

constexpr int kRounds = 3;

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

absl::StatusOr<double> ThroughputOf(const Model& model, std::span<const GoldenRow> rows,
                                    const RunSetup& setup, absl::Duration time) {
  const auto now = [] { return Clock::Real().Now(); };
  std::vector<std::array<double, kRounds>> rates(static_cast<size_t>(setup.workers));
  const absl::Status ran_all = OnWorkers(setup, [&](int worker) -> absl::Status {
    BatchRunner runner(model, rows);
    size_t at = PartOf(rows.size(), worker, setup.workers).first;
    const auto run = [&]() -> absl::StatusOr<size_t> {
      ASSIGN_OR_RETURN(const size_t ran, runner.Run(at, static_cast<size_t>(setup.batch_rows)));
      at = (at + ran) % rows.size();
      return ran;
    };
    RETURN_IF_ERROR(run().status());
    for (double& rate : rates[static_cast<size_t>(worker)]) {
      const absl::Time start = now();
      size_t done = 0;
      do {
        ASSIGN_OR_RETURN(const size_t ran, run());
        done += ran;
      } while (now() - start < time / kRounds);
      rate = static_cast<double>(done) / absl::ToDoubleSeconds(now() - start);
    }
    return absl::OkStatus();
  });
  RETURN_IF_ERROR(ran_all);
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    double sum = 0;
    for (const auto& rate : rates) sum += rate[static_cast<size_t>(round)];
    best = std::max(best, sum);
  }
  return best;
}

}  // namespace hachi
