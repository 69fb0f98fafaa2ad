#include "engine/calibrate/calibrate.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/gather.h"
#include "engine/onnx/import.h"
#include "engine/ops/index_range.h"
#include "engine/ops/quantized.h"
#include "engine/passes/pass.h"
#include "engine/plan/ends.h"
#include "engine/plan/plan.h"
#include "engine/plan/runner.h"
#include "engine/samples/sample_set.h"

namespace hachi {
namespace {

// Rows that run together at most: enough to keep kernels busy, few enough for large images. Guessed.
constexpr int64_t kMaxRows = 8;

// Rows of one input of a sample, and how they get into the batch tensor.
struct FittedInput {
  const Gather* gather;
  std::span<const std::byte> bytes;
  size_t row_bytes;
};

class Calibrator {
 public:
  explicit Calibrator(const CalibrateOptions& options) : options_(options) {}

  absl::StatusOr<CalibrationTable> Run() {
    ASSIGN_OR_RETURN(graph_, ImportOnnx(options_.model));
    RETURN_IF_ERROR(RunPasses(graph_, PreparePasses(), {}));
    for (const auto& [name, value] : graph_.values())
      if (!value->is_constant() && value->dtype == DType::kF32) observed_.insert(name);
    RETURN_IF_ERROR(RunPasses(graph_, ObservePasses(), {}));
    RETURN_IF_ERROR(MakeForms());
    ASSIGN_OR_RETURN(const std::string sha256, ModelSha256(options_.model));
    table_.emplace(CalibrationTable::Header{.model_sha256 = sha256,
                                            .data_tag = options_.data_tag,
                                            .samples = 0,
                                            .tool_version = options_.tool_version});

    std::vector<std::string> names;
    for (const Value* input : graph_.inputs()) names.push_back(input->name);
    ASSIGN_OR_RETURN(const SampleSet samples, SampleSet::Open(options_.data, names));
    for (size_t i = 0; i < samples.size(); ++i) {
      ASSIGN_OR_RETURN(const Sample sample, samples.Read(i));
      RETURN_IF_ERROR(
          WithContext(RunSample(sample), absl::StrCat("sample '", samples.PathOf(i).string(), "'")));
      if (options_.progress) options_.progress(i + 1, samples.size());
    }
    return *std::move(table_);
  }

 private:
  // One way in which a sample may hold an input.
  struct Form {
    DType dtype;
    Shape row_shape;
    Gather gather;
  };

  absl::Status MakeForms() {
    rows_ = RowsSymbol(graph_);
    RETURN_IF_ERROR(CheckInputNames(graph_, options_.inputs));
    for (const Value* input : graph_.inputs()) {
      ASSIGN_OR_RETURN(const Shape shape,
                       RowShape(absl::StrCat("input '", input->name, "'"), *input->dims, rows_));
      std::vector<Form>& forms = forms_.emplace_back();
      RETURN_IF_ERROR(AddForm(*input, shape, {.dtype = input->dtype}, forms));
      if (const auto own = options_.inputs.find(input->name); own != options_.inputs.end())
        RETURN_IF_ERROR(AddForm(*input, shape, own->second, forms));
      ranges_.push_back(IndexRange(*input));
    }
    return absl::OkStatus();
  }

  absl::Status AddForm(const Value& input, const Shape& shape, const InputOptions& own,
                       std::vector<Form>& forms) {
    ASSIGN_OR_RETURN(Gather gather, MakeGather(input, shape, own, rows_.has_value()));
    forms.push_back({own.dtype, ClientRowShape(shape, own), std::move(gather)});
    return absl::OkStatus();
  }

  absl::Status RunSample(const Sample& sample) {
    std::vector<FittedInput> inputs;
    std::optional<int64_t> all_rows;
    for (size_t i = 0; i < forms_.size(); ++i) {
      const std::string& name = graph_.inputs()[i]->name;
      const auto tensor = sample.find(name);
      if (tensor == sample.end())
        return absl::InvalidArgumentError(absl::StrCat("has no input '", name, "', expected one"));
      ASSIGN_OR_RETURN(const auto fitted, Fit(i, tensor->second));
      if (all_rows.value_or(fitted.second) != fitted.second)
        return absl::InvalidArgumentError(absl::StrCat("input '", name, "' has ", fitted.second,
                                                       " rows, expected ", *all_rows, " as the others have"));
      all_rows = fitted.second;
      inputs.push_back(fitted.first);
    }
    const int64_t rows = all_rows.value_or(1);
    for (int64_t first = 0; first < rows; first += kMaxRows)
      RETURN_IF_ERROR(RunRows(inputs, first, std::min(kMaxRows, rows - first)));
    table_->AddSamples(rows);
    return absl::OkStatus();
  }

  // The tensor as rows of input `i`, and how many they are.
  absl::StatusOr<std::pair<FittedInput, int64_t>> Fit(size_t i, const Tensor& tensor) const {
    std::string expected;
    for (const Form& form : forms_[i]) {
      absl::StrAppend(&expected, expected.empty() ? "" : " or ", std::string(NameOf(form.dtype)),
                      ShapeText(form.row_shape), rows_ ? " or rows of it" : "");
      if (tensor.dtype() != form.dtype) continue;
      const size_t row_bytes = static_cast<size_t>(CountOf(form.row_shape)) * SizeOf(form.dtype);
      RETURN_IF_ERROR(CheckRange(i, tensor));
      if (tensor.shape() == form.row_shape)
        return std::pair(FittedInput{&form.gather, tensor.bytes(), row_bytes}, int64_t{1});
      const std::span<const int64_t> shape(tensor.shape());
      if (rows_ && !shape.empty() && std::ranges::equal(shape.subspan(1), form.row_shape))
        return std::pair(FittedInput{&form.gather, tensor.bytes(), row_bytes}, shape[0]);
    }
    return absl::InvalidArgumentError(absl::StrCat("input '", graph_.inputs()[i]->name, "' is ",
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

  absl::Status RunRows(const std::vector<FittedInput>& inputs, int64_t first, int64_t rows) {
    std::shared_ptr<const Plan>& plan = plans_[rows];
    if (plan == nullptr) {
      ASSIGN_OR_RETURN(plan, Plan::Create(graph_, BindRows(rows_, rows), weights_));
    }
    BoundPlan& bound = runner_.Bind(plan);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const std::span<const std::byte> bytes =
          inputs[i].bytes.subspan(static_cast<size_t>(first) * inputs[i].row_bytes);
      inputs[i].gather->Run({&bytes, 1}, rows, bound.Input(i));
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
  Graph graph_;
  std::optional<Dim> rows_;  // the symbol that counts them; nullopt: the model takes no batches
  std::set<std::string, std::less<>> observed_;
  std::vector<std::vector<Form>> forms_;             // of each input
  std::vector<std::optional<IntegerRange>> ranges_;  // likewise
  std::optional<CalibrationTable> table_;
  WeightCache weights_;
  std::map<int64_t, std::shared_ptr<const Plan>> plans_;  // by rows
  PlanRunner runner_;
};

}  // namespace

absl::StatusOr<CalibrationTable> Calibrate(const CalibrateOptions& options) {
  return Calibrator(options).Run();
}

}  // namespace hachi
