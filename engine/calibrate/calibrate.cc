#include "engine/calibrate/calibrate.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/intake.h"
#include "engine/onnx/import.h"
#include "engine/ops/index_range.h"
#include "engine/ops/quantized.h"
#include "engine/passes/infer_graph.h"
#include "engine/passes/pass.h"
#include "engine/plan/plan.h"
#include "engine/plan/runner.h"
#include "engine/run/ends.h"
#include "engine/run/prepare.h"
#include "engine/samples/sample_set.h"
#include "engine/tensor/half.h"

namespace hachi {
namespace {

// Rows that run together at most: enough to keep kernels busy, few enough for large images. Guessed.
constexpr int64_t kMaxRows = 8;

// Plans that are kept for samples to come, of whatever shapes. Guessed.
constexpr size_t kMaxPlans = 32;

// Rows of one input of a sample.
struct FittedInput {
  const InputOptions* client;  // how its rows lie
  Shape row_shape;             // in the model's order of axes
  std::span<const std::byte> bytes;
  int64_t rows;
};

// The index of the first element that is not a number; nullopt when all are.
std::optional<int64_t> FirstNan(DType dtype, std::span<const std::byte> bytes) {
  const auto find = [bytes]<typename T>(T, const auto& is_nan) -> std::optional<int64_t> {
    const std::span elements(reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T));
    const auto found = std::ranges::find_if(elements, is_nan);
    return found == elements.end() ? std::nullopt : std::optional<int64_t>(found - elements.begin());
  };
  if (dtype == DType::kF32) return find(float{}, [](float x) { return std::isnan(x); });
  if (dtype == DType::kF64) return find(double{}, [](double x) { return std::isnan(x); });
  if (dtype == DType::kF16) return find(uint16_t{}, [](uint16_t x) { return std::isnan(FloatOfF16(x)); });
  if (dtype == DType::kBF16) return find(uint16_t{}, [](uint16_t x) { return std::isnan(FloatOfBf16(x)); });
  return std::nullopt;
}

class Calibrator {
 public:
  explicit Calibrator(const CalibrateOptions& options) : options_(options) {}

  absl::StatusOr<Calibration> Run() {
    ASSIGN_OR_RETURN(ImportedModel imported, ImportOnnx(options_.model, /*want_sha256=*/true, IsOp));
    RETURN_IF_ERROR(CheckInputs(imported.graph, options_.inputs));
    auto prepared = PrepareGraph(imported.graph, {});
    // Else each sample says what the graph is.
    const bool by_sample = !prepared.ok();
    std::set<size_t> deciding;
    if (by_sample) {
      Graph trial = imported.graph.Clone();
      ASSIGN_OR_RETURN(deciding, DecidingInputs(trial));
    } else {
      RETURN_IF_ERROR(Adopt(*std::move(prepared)));
    }
    table_.emplace(CalibrationTable::Header{.model_sha256 = imported.sha256,
                                            .data_tag = options_.data_tag,
                                            .samples = 0,
                                            .tool_version = options_.tool_version});

    std::vector<std::string> names;
    for (const Value* input : imported.graph.inputs()) names.push_back(input->name);
    ASSIGN_OR_RETURN(const SampleSet samples, SampleSet::Open(options_.data, names));
    absl::Status status = RunSamples(imported.graph, deciding, samples, by_sample);
    if (status.ok() && table_->header().samples == 0)
      status = absl::InvalidArgumentError(absl::StrCat("samples '", options_.data.string(), "': ", rows_seen_,
                                                       " rows, expected more than the ", options_.first_row,
                                                       " that are passed over"));
    return Calibration{*std::move(table_), std::move(status)};
  }

 private:
  absl::Status RunSamples(const Graph& imported, const std::set<size_t>& deciding, const SampleSet& samples,
                          bool by_sample) {
    for (size_t i = 0; i < samples.size() && table_->header().samples < options_.max_rows; ++i) {
      const std::string what = absl::StrCat("sample '", samples.PathOf(i).string(), "'");
      ASSIGN_OR_RETURN(const Sample sample, samples.Read(i));
      if (by_sample) RETURN_IF_ERROR(WithContext(PrepareFor(imported, deciding, sample), what));
      RETURN_IF_ERROR(WithContext(RunSample(sample, {i + 1, samples.size(), 0}), what));
    }
    return absl::OkStatus();
  }

  // Calibrates with this graph from now on.
  absl::Status Adopt(PreparedGraph prepared) {
    graph_ = std::move(prepared.graph);
    rows_ = std::move(prepared.rows);
    plans_.clear();
    weights_ = std::make_unique<WeightCache>();
    for (const auto& [name, value] : graph_.values())
      if (!value->is_constant() && value->dtype == DType::kF32) observed_.insert(name);
    RETURN_IF_ERROR(RunPasses(graph_, ObservePasses(), {}));
    MakeForms();
    return absl::OkStatus();
  }

  // Adopts the graph that a sample's shapes and deciding values make, unless it is there already.
  absl::Status PrepareFor(const Graph& imported, const std::set<size_t>& deciding, const Sample& sample) {
    std::vector<Shape> shapes;
    std::vector<std::vector<std::byte>> values;
    for (size_t i = 0; i < imported.inputs().size(); ++i) {
      const Value& input = *imported.inputs()[i];
      const auto tensor = sample.find(input.name);
      if (tensor == sample.end())
        return absl::InvalidArgumentError(absl::StrCat("has no input '", input.name, "', expected one"));
      const bool as_model_takes_it = tensor->second.dtype() == input.dtype;
      shapes.push_back(as_model_takes_it
                           ? tensor->second.shape()
                           : FromClient(tensor->second.shape(), OptionsOf(input, options_.inputs)));
      values.emplace_back();
      if (deciding.contains(i) && !as_model_takes_it)
        return absl::InvalidArgumentError(absl::StrCat("input '", input.name, "' is ",
                                                       std::string(NameOf(tensor->second.dtype())),
                                                       ", expected ", std::string(NameOf(input.dtype))));
      if (deciding.contains(i))
        values.back().assign(tensor->second.bytes().begin(), tensor->second.bytes().end());
    }
    std::pair key(shapes, values);
    if (prepared_for_ == key) return absl::OkStatus();
    ASSIGN_OR_RETURN(PreparedGraph prepared, PrepareGraphFor(imported, shapes, deciding, values));
    prepared_for_ = std::move(key);
    return Adopt(std::move(prepared));
  }

  // The ways in which a sample may hold each input: as the model takes it, or as clients send it.
  void MakeForms() {
    forms_.clear();
    ranges_.clear();
    for (const Value* input : graph_.inputs()) {
      std::vector<InputOptions>& forms = forms_.emplace_back();
      forms.push_back({.dtype = input->dtype});
      if (options_.inputs.contains(input->name)) forms.push_back(OptionsOf(*input, options_.inputs));
      ranges_.push_back(IndexRange(*input));
    }
  }

  absl::Status RunSample(const Sample& sample, CalibrateOptions::Progress progress) {
    std::vector<FittedInput> inputs;
    Bindings bindings;
    for (size_t i = 0; i < forms_.size(); ++i) {
      const std::string& name = graph_.inputs()[i]->name;
      const auto tensor = sample.find(name);
      if (tensor == sample.end())
        return absl::InvalidArgumentError(absl::StrCat("has no input '", name, "', expected one"));
      ASSIGN_OR_RETURN(FittedInput fitted, Fit(i, tensor->second, bindings));
      if (!inputs.empty() && inputs.front().rows != fitted.rows)
        return absl::InvalidArgumentError(absl::StrCat("input '", name, "' has ", fitted.rows,
                                                       " rows, expected ", inputs.front().rows,
                                                       " as the others have"));
      inputs.push_back(std::move(fitted));
    }
    const int64_t rows = inputs.empty() ? 1 : inputs.front().rows;
    const int64_t begin = std::clamp<int64_t>(options_.first_row - rows_seen_, 0, rows);
    const int64_t end = begin + std::min(options_.max_rows - table_->header().samples, rows - begin);
    rows_seen_ += rows;
    for (int64_t first = begin; first < end; first += kMaxRows) {
      if (options_.stop && options_.stop())
        return absl::CancelledError(absl::StrCat("stopped after ", table_->header().samples, " rows"));
      const int64_t count = std::min(kMaxRows, end - first);
      RETURN_IF_ERROR(CheckNumbers(inputs, first, count));
      RETURN_IF_ERROR(RunRows(inputs, bindings, first, count));
      table_->AddSamples(count);
      progress.rows = table_->header().samples;
      if (options_.progress) options_.progress(progress);
    }
    return absl::OkStatus();
  }

  // What the model computes of NaN says nothing of its tensors. Infinities may be meant: masks hold them.
  absl::Status CheckNumbers(const std::vector<FittedInput>& inputs, int64_t first, int64_t rows) const {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const FittedInput& input = inputs[i];
      const size_t row_bytes = input.bytes.size() / static_cast<size_t>(input.rows);
      const auto nan = FirstNan(
          *input.client->dtype,
          input.bytes.subspan(static_cast<size_t>(first) * row_bytes, static_cast<size_t>(rows) * row_bytes));
      const int64_t row_count = CountOf(input.row_shape);
      if (nan)
        return absl::InvalidArgumentError(absl::StrCat("input '", graph_.inputs()[i]->name, "': element ",
                                                       *nan % row_count, " of row ", first + *nan / row_count,
                                                       " is not a number, expected numbers"));
    }
    return absl::OkStatus();
  }

  // The tensor as rows of input `i`; notes what its free dimensions are.
  absl::StatusOr<FittedInput> Fit(size_t i, const Tensor& tensor, Bindings& bindings) const {
    const Value& input = *graph_.inputs()[i];
    const SymbolicShape dims = RowDims(*input.dims, rows_);
    std::string expected;
    for (const InputOptions& form : forms_[i]) {
      const SymbolicShape client_dims = ToClient(dims, form);
      absl::StrAppend(&expected, expected.empty() ? "" : " or ", std::string(NameOf(*form.dtype)),
                      ShapeText(client_dims), rows_ ? " or rows of it" : "");
      if (tensor.dtype() != *form.dtype) continue;
      Shape row_shape = tensor.shape();
      const bool has_rows = rows_ && row_shape.size() == client_dims.size() + 1;
      if (has_rows) row_shape.erase(row_shape.begin());
      Bindings tried = bindings;
      if (!MatchDims(client_dims, row_shape, tried).ok()) continue;
      if (has_rows && tensor.shape()[0] < 1)
        return absl::InvalidArgumentError(
            absl::StrCat("input '", input.name, "' has 0 rows, expected at least 1"));
      RETURN_IF_ERROR(CheckRange(i, tensor));
      bindings = std::move(tried);
      return FittedInput{&form, FromClient(std::move(row_shape), form), tensor.bytes(),
                         has_rows ? tensor.shape()[0] : 1};
    }
    return absl::InvalidArgumentError(absl::StrCat("input '", input.name, "' is ",
                                                   std::string(NameOf(tensor.dtype())),
                                                   ShapeText(tensor.shape()), ", expected ", expected));
  }

  // Integers that pick rows of a table are within it: what others pick is nothing to calibrate with.
  absl::Status CheckRange(size_t i, const Tensor& tensor) const {
    const auto& range = ranges_[i];
    for (int64_t k = 0; range && k < tensor.count(); ++k)
      if (const int64_t element = IntegerAt(tensor.view(), k); !range->Contains(element))
        return absl::InvalidArgumentError(absl::StrCat("input '", graph_.inputs()[i]->name,
                                                       "' has an element ", element, ", expected ",
                                                       range->lowest, " to ", range->highest));
    return absl::OkStatus();
  }

  absl::Status RunRows(const std::vector<FittedInput>& inputs, Bindings bindings, int64_t first,
                       int64_t rows) {
    if (rows_) bindings[rows_->ToText()] = rows;
    if (plans_.size() >= kMaxPlans) plans_.clear();
    std::shared_ptr<const Plan>& plan = plans_[bindings];
    if (plan == nullptr) {
      ASSIGN_OR_RETURN(plan, Plan::Create(graph_, bindings, *weights_));
    }
    BoundPlan& bound = runner_.Bind(plan);
    for (size_t i = 0; i < inputs.size(); ++i) {
      ASSIGN_OR_RETURN(const Intake intake, MakeIntake(*graph_.inputs()[i], inputs[i].row_shape,
                                                       *inputs[i].client, rows_.has_value()));
      const size_t row_bytes = inputs[i].bytes.size() / static_cast<size_t>(inputs[i].rows);
      const std::span<const std::byte> bytes =
          inputs[i].bytes.subspan(static_cast<size_t>(first) * row_bytes);
      intake.Run({&bytes, 1}, rows, bound.Input(i));
      Observe(bound, plan->inputs()[i]);
    }
    return bound.Run(runner_.stream(), [&](size_t step) {
      for (const Place& output : plan->steps()[step].outputs) Observe(bound, output);
    });
  }

  void Observe(const BoundPlan& bound, const Place& place) {
    if (!observed_.contains(place.name)) return;
    const Shape& shape = place.spec.shape;
    const std::span values(reinterpret_cast<const float*>(bound.At(place)),
                           static_cast<size_t>(place.spec.count()));
    if (shape.size() < 2)
      return table_->Observe(place.name, values, 1, std::max<int64_t>(place.spec.count(), 1));
    const bool channels_last = !place.spec.layout.is_row_major();
    table_->Observe(place.name, values, shape[1], channels_last ? 1 : CountOf(std::span(shape).subspan(2)));
  }

  const CalibrateOptions& options_;
  int64_t rows_seen_ = 0;  // of the data, those that are passed over too
  Graph graph_;
  std::optional<Dim> rows_;  // the symbol that counts them; nullopt: the model takes no batches
  std::set<std::string, std::less<>> observed_;
  std::vector<std::vector<InputOptions>> forms_;     // of each input
  std::vector<std::optional<IntegerRange>> ranges_;  // likewise
  std::optional<CalibrationTable> table_;
  std::unique_ptr<WeightCache> weights_;  // of the graph's constants
  std::optional<std::pair<std::vector<Shape>, std::vector<std::vector<std::byte>>>>
      prepared_for_;  // shapes and deciding values of the sample that the graph is for; nullopt: it is for
                      // all
  std::map<Bindings, std::shared_ptr<const Plan>> plans_;
  PlanRunner runner_;
};

}  // namespace

absl::StatusOr<Calibration> CalibrateUntil(const CalibrateOptions& options) {
  return Calibrator(options).Run();
}

absl::StatusOr<CalibrationTable> Calibrate(const CalibrateOptions& options) {
  ASSIGN_OR_RETURN(Calibration calibration, CalibrateUntil(options));
  RETURN_IF_ERROR(calibration.status);
  return std::move(calibration.table);
}

}  // namespace hachi
