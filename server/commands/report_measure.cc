#include "server/commands/report_measure.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "engine/samples/sample_set.h"
#include "server/commands/bench_request.h"
#include "server/commands/model_argument.h"
#include "server/commands/rows.h"
#include "server/shadow/agreement.h"

namespace hachi::server {
namespace {

constexpr int kRounds = 4;
constexpr int kMostProfiledRuns = 50;
constexpr int64_t kMostRows = 256;  // that are compared

double Seconds(absl::Time since) { return absl::ToDoubleSeconds(absl::Now() - since); }

// What a model's rounds have shown.
struct Timed {
  explicit Timed(MeasuredModel& of, int64_t rows)
      : measured(of), request(of.model->signature(), of.shapes, rows), context(NewRunContext()) {}

  absl::Status Run(double seconds) {
    const absl::Time start = absl::Now();
    do {
      const absl::Time before = absl::Now();
      RETURN_IF_ERROR(measured.model->Run(*context, request.rows()).status());
      latencies.push_back(Seconds(before));
    } while (Seconds(start) < seconds);
    return absl::OkStatus();
  }

  void Summarize(int64_t rows) {
    std::ranges::sort(latencies);
    const auto quantile = [&](double q) {
      return latencies[static_cast<size_t>(q * static_cast<double>(latencies.size() - 1))];
    };
    measured.speed.p50_seconds = quantile(0.5);
    measured.speed.p99_seconds = quantile(0.99);
    measured.speed.throughput_per_s = static_cast<double>(rows) / quantile(0.5);
  }

  MeasuredModel& measured;
  BenchRequest request;
  std::unique_ptr<RunContext> context;
  std::vector<double> latencies;
};

// The outputs of one row, whose inputs have these bytes.
absl::StatusOr<std::vector<Tensor>> AnswerOf(const Model& model, RunContext& context,
                                             const std::vector<std::string>& inputs) {
  std::vector<Tensor> outputs;
  Rows row{.count = 1};
  for (const std::string& bytes : inputs) row.inputs.push_back({std::as_bytes(std::span(bytes))});
  for (const TensorSignature& output : model.signature().outputs)
    outputs.emplace_back(output.dtype, Shape(output.dims.begin(), output.dims.end()));
  for (Tensor& output : outputs) row.outputs.push_back(output.bytes());
  RETURN_IF_ERROR(model.Run(context, {&row, 1}).status());
  return outputs;
}

// The sample as rows of each input, in the signature's order.
absl::StatusOr<std::vector<TensorRows>> RowsOf(Sample sample, const Signature& signature) {
  std::vector<TensorRows> inputs;
  for (const TensorSignature& input : signature.inputs) {
    std::vector<int64_t> shape = input.dims;
    if (signature.batched) shape.insert(shape.begin(), -1);
    ASSIGN_OR_RETURN(TensorRows rows, TensorRows::Of(std::move(sample[input.name]),
                                                     {input.name, input.dtype, shape}, signature.batched));
    inputs.push_back(std::move(rows));
  }
  return inputs;
}

}  // namespace

absl::StatusOr<MeasuredModel> LoadMeasured(const LoadOptions& options) {
  MeasuredModel measured;
  const absl::Time start = absl::Now();
  auto model = LoadModel(options);
  if (!model.ok()) return WithContext(model.status(), absl::StrCat("model '", options.name, "'"));
  measured.speed.load_seconds = Seconds(start);
  measured.speed.precision = std::string(NameOf((*model)->info().precision));
  measured.speed.weights_bytes = (*model)->info().weights_bytes;
  measured.model = *std::move(model);
  ASSIGN_OR_RETURN(measured.shapes, ShapesOf(*measured.model, /*shapes=*/{}, /*values=*/{}));
  return measured;
}

absl::Status MeasureInTurns(MeasuredModel& a, MeasuredModel& b, int64_t rows, double seconds) {
  Timed first(a, rows), second(b, rows);
  for (Timed* timed : {&first, &second}) {  // binds
    RETURN_IF_ERROR(timed->Run(/*seconds=*/0));
    timed->latencies.clear();
  }
  for (int round = 0; round < kRounds; ++round)
    for (Timed* timed : {&first, &second}) RETURN_IF_ERROR(timed->Run(seconds / 2 / kRounds));
  first.Summarize(rows);
  second.Summarize(rows);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StepProfile>> ProfileSteps(const MeasuredModel& measured, int64_t rows,
                                                      double seconds) {
  const int runs =
      static_cast<int>(std::clamp<double>(seconds / measured.speed.p50_seconds, 1, kMostProfiledRuns));
  const auto context = NewRunContext();
  return measured.model->Profile(*context, measured.shapes.get(), rows, runs);
}

absl::StatusOr<AccuracyFacts> CompareOnData(const Model& model, const Model& fp32, const std::string& data) {
  const Signature& signature = model.signature();
  std::vector<std::string> names;
  for (const TensorSignature& input : signature.inputs) names.push_back(input.name);
  ASSIGN_OR_RETURN(const SampleSet samples, SampleSet::Open(data, names));
  const auto context = NewRunContext();
  AccuracyFacts facts;
  int64_t places = 0, agreeing = 0;
  for (size_t i = 0; i < samples.size() && facts.rows < kMostRows; ++i) {
    ASSIGN_OR_RETURN(Sample sample, samples.Read(i));
    auto inputs = RowsOf(std::move(sample), signature);
    RETURN_IF_ERROR(WithContext(inputs.status(), absl::StrCat("sample '", samples.PathOf(i).string(), "'")));
    for (int64_t row = 0; row < inputs->front().rows() && facts.rows < kMostRows; ++row, ++facts.rows) {
      std::vector<std::string> bytes;
      for (const TensorRows& input : *inputs) bytes.push_back(input.Bytes(row, 1));
      ASSIGN_OR_RETURN(const auto answer, AnswerOf(model, *context, bytes));
      ASSIGN_OR_RETURN(const auto expected, AnswerOf(fp32, *context, bytes));
      const Agreement agreement = Compare(answer, expected);
      places += agreement.places;
      agreeing += agreement.agreeing;
      facts.error += agreement.error;
    }
  }
  if (facts.rows > 0) facts.error /= static_cast<double>(facts.rows);
  facts.agreement = places > 0 ? static_cast<double>(agreeing) / static_cast<double>(places) : 1;
  return facts;
}

}  // namespace hachi::server
