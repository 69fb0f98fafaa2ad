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
    for (const Value* input : graph_.inputs())
      if (!input->dims->empty() && !input->dims->front().constant()) rows_ = input->dims->front();
    for (const auto& [name, input] : options_.inputs)
      if (std::ranges::none_of(graph_.inputs(), [&, &n = name](const Value* v) { return v->name == n; }))
        return absl::InvalidArgumentError(
            absl::StrCat("inputs: '", name, "', expected the name of an input of the model"));
    for (const Value* input : graph_.inputs()) {
      SymbolicShape dims = *input->dims;
      if (rows_) {
        if (dims.empty() || dims.front() != *rows_)
          return absl::UnimplementedError(absl::StrCat("input '", input->name, "' has shape ",
                                                       ShapeText(dims),
                                                       ", expected rows in its first dimension"));
        dims.erase(dims.begin());
      }
      const auto shape = ConstantShape(dims);
      if (!shape)
        return absl::UnimplementedError(absl::StrCat("input '", input->name, "' has shape ",
                                                     ShapeText(*input->dims),
                                                     ", expected numbers in all dimensions but the first"));
      std::vector<Form>& forms = forms_.emplace_back();
      RETURN_IF_ERROR(AddForm(*input, *shape, {.dtype = input->dtype}, forms));
      if (const auto own = options_.inputs.find(input->name); own != options_.inputs.end())
        RETURN_IF_ERROR(AddForm(*input, *shape, own->second, forms));
    }
    return absl::OkStatus();
  }

  absl::Status AddForm(const Value& input, const Shape& shape, const InputOptions& own,
                       std::vector<Form>& forms) {
    GatherSpec spec{.client_dtype = own.dtype,
                    .client_channels_last = own.channels_last,
                    .row_shape = shape,
                    .mean = own.mean,
                    .scale = own.scale,
                    .dtype = input.dtype};
    std::vector<int> order;
    if (!rows_) order.push_back(0);
    for (const int axis : input.layout.Order(input.rank())) order.push_back(axis + (rows_ ? 0 : 1));
    spec.layout = Layout::FromOrder(std::move(order));
    auto gather = Gather::Create(spec);
    if (!gather.ok()) return WithContext(gather.status(), absl::StrCat("input '", input.name, "'"));
    Shape row_shape = shape;
    if (own.channels_last && shape.size() > 1)
      std::rotate(row_shape.begin(), row_shape.begin() + 1, row_shape.end());
    forms.push_back({own.dtype, std::move(row_shape), *std::move(gather)});
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
    const auto range = IndexRange(*graph_.inputs()[i]);
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
      Bindings bindings;
      if (rows_) bindings[rows_->ToText()] = rows;
      ASSIGN_OR_RETURN(plan, Plan::Create(graph_, bindings, weights_));
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
  std::vector<std::vector<Form>> forms_;  // of each input
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
