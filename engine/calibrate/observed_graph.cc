#include "engine/calibrate/observed_graph.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/intake.h"
#include "engine/kernels/outlet.h"
#include "engine/ops/index_range.h"
#include "engine/ops/quantized.h"
#include "engine/passes/pass.h"
#include "engine/run/ends.h"
#include "engine/tensor/half.h"

namespace hachi {
namespace {

// Rows that run together at most: enough to keep kernels busy, few enough for large images. Guessed.
constexpr int64_t kMaxRows = 8;

// Plans that are kept for samples to come, of whatever shapes. Guessed.
constexpr size_t kMaxPlans = 32;

// Whether there are elements, and none of them is a number.
bool HoldsNoNumber(DType dtype, std::span<const std::byte> bytes) {
  const auto all = [bytes]<typename T>(T, const auto& is_nan) {
    const std::span elements(reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T));
    return !elements.empty() && std::ranges::all_of(elements, is_nan);
  };
  if (dtype == DType::kF32) return all(float{}, [](float x) { return std::isnan(x); });
  if (dtype == DType::kF64) return all(double{}, [](double x) { return std::isnan(x); });
  if (dtype == DType::kF16) return all(uint16_t{}, [](uint16_t x) { return std::isnan(FloatOfF16(x)); });
  if (dtype == DType::kBF16) return all(uint16_t{}, [](uint16_t x) { return std::isnan(FloatOfBf16(x)); });
  return false;
}

// Whether a matrix product takes it as its left side.
bool IsMultiplied(const Value& value) {
  return std::ranges::any_of(
      value.users, [&](const Node* user) { return user->op == "MatMul" && user->inputs[0] == &value; });
}

}  // namespace

absl::StatusOr<std::unique_ptr<ObservedGraph>> ObservedGraph::Create(
    PreparedGraph prepared, const std::map<std::string, InputOptions>& inputs, CalibrationTable& table,
    SampleForms forms) {
  std::unique_ptr<ObservedGraph> made(new ObservedGraph(std::move(prepared), table));
  for (const auto& [name, value] : made->graph_.values())
    if (!value->is_constant() && value->dtype == DType::kF32) {
      made->observed_.insert(name);
      if (value->rank() > 2 && IsMultiplied(*value)) made->tokens_.insert(name);
    }
  RETURN_IF_ERROR(RunPasses(made->graph_, ObservePasses(), {}));
  made->MakeForms(inputs, forms);
  return made;
}

void ObservedGraph::MakeForms(const std::map<std::string, InputOptions>& inputs, SampleForms forms) {
  for (const Value* input : graph_.inputs()) {
    const bool is_given = inputs.contains(input->name);
    std::vector<InputOptions>& own = forms_.emplace_back();
    if (forms == SampleForms::kModelOrClient || !is_given) own.push_back({.dtype = input->dtype});
    if (is_given) own.push_back(OptionsOf(*input, inputs));
    ranges_.push_back(IndexRange(*input));
  }
}

absl::StatusOr<int64_t> ObservedGraph::Run(const Sample& sample, const RowPart& part) {
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
  const int64_t begin = std::clamp<int64_t>(part.skip, 0, rows);
  const int64_t end = begin + std::min(part.most, rows - begin);
  for (int64_t first = begin; first < end; first += kMaxRows) {
    if (part.stop && part.stop())
      return absl::CancelledError(absl::StrCat("stopped after ", table_.header().samples, " rows"));
    const int64_t count = std::min(kMaxRows, end - first);
    RETURN_IF_ERROR(CheckNumbers(inputs, first, count));
    RETURN_IF_ERROR(RunRows(inputs, bindings, first, count));
    if (part.done) part.done(count);
  }
  return rows;
}

absl::Status ObservedGraph::CheckNumbers(const std::vector<FittedInput>& inputs, int64_t first,
                                         int64_t rows) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const FittedInput& input = inputs[i];
    const size_t row_bytes = input.bytes.size() / static_cast<size_t>(input.rows);
    for (int64_t row = first; row < first + rows; ++row)
      if (HoldsNoNumber(*input.client->dtype,
                        input.bytes.subspan(static_cast<size_t>(row) * row_bytes, row_bytes)))
        return absl::InvalidArgumentError(absl::StrCat("input '", graph_.inputs()[i]->name, "': row ", row,
                                                       " holds no number, expected some"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Tensor>> ObservedGraph::Outputs() {
  const BoundPlan& bound = runner_.Bind(last_);
  std::vector<Tensor> tensors;
  for (size_t i = 0; i < graph_.outputs().size(); ++i) {
    const Place& place = last_->outputs()[i];
    const bool batched = rows_.has_value();
    const int64_t rows = batched ? place.spec.shape[0] : 1;
    ASSIGN_OR_RETURN(
        const Outlet outlet,
        Outlet::Create({.dtype = place.spec.dtype,
                        .layout = LayoutOfRows(*graph_.outputs()[i].value, batched),
                        .row_shape = Shape(place.spec.shape.begin() + batched, place.spec.shape.end()),
                        .client_dtype = place.spec.dtype}));
    outlet.Run(bound.At(place), rows, tensors.emplace_back(place.spec.dtype, place.spec.shape).bytes());
  }
  return tensors;
}

absl::StatusOr<ObservedGraph::FittedInput> ObservedGraph::Fit(size_t i, const Tensor& tensor,
                                                              Bindings& bindings) const {
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

absl::Status ObservedGraph::CheckRange(size_t i, const Tensor& tensor) const {
  const auto& range = ranges_[i];
  for (int64_t k = 0; range && k < tensor.count(); ++k)
    if (const int64_t element = IntegerAt(tensor.view(), k); !range->Contains(element))
      return absl::InvalidArgumentError(absl::StrCat("input '", graph_.inputs()[i]->name, "' has an element ",
                                                     element, ", expected ", range->lowest, " to ",
                                                     range->highest));
  return absl::OkStatus();
}

absl::Status ObservedGraph::RunRows(const std::vector<FittedInput>& inputs, Bindings bindings, int64_t first,
                                    int64_t rows) {
  if (rows_) bindings[rows_->ToText()] = rows;
  if (plans_.size() >= kMaxPlans) plans_.clear();
  std::shared_ptr<const Plan>& plan = plans_[bindings];
  if (plan == nullptr) {
    ASSIGN_OR_RETURN(plan, Plan::Create(graph_, bindings, weights_));
  }
  last_ = plan;
  BoundPlan& bound = runner_.Bind(plan);
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSIGN_OR_RETURN(const Intake intake, MakeIntake(*graph_.inputs()[i], inputs[i].row_shape,
                                                     *inputs[i].client, rows_.has_value()));
    const size_t row_bytes = inputs[i].bytes.size() / static_cast<size_t>(inputs[i].rows);
    const std::span<const std::byte> bytes = inputs[i].bytes.subspan(static_cast<size_t>(first) * row_bytes);
    intake.Run({&bytes, 1}, rows, bound.Input(i));
    Observe(bound, plan->inputs()[i]);
  }
  return bound.Run(runner_.stream(), [&](size_t step) {
    for (const Place& output : plan->steps()[step].outputs) Observe(bound, output);
  });
}

void ObservedGraph::Observe(const BoundPlan& bound, const Place& place) {
  if (!observed_.contains(place.name)) return;
  const Shape& shape = place.spec.shape;
  const std::span values(reinterpret_cast<const float*>(bound.At(place)),
                         static_cast<size_t>(place.spec.count()));
  const bool channels_last = !place.spec.layout.is_row_major();
  ChannelOrder order{.channels = 1, .inner = std::max<int64_t>(place.spec.count(), 1)};
  if (tokens_.contains(place.name) && !channels_last)
    order = {.channels = shape.back(), .inner = 1, .axis = ChannelAxis::kLast};
  else if (shape.size() > 1)
    order = {.channels = shape[1], .inner = channels_last ? 1 : CountOf(std::span(shape).subspan(2))};
  table_.Observe(place.name, values, order);
}

}  // namespace hachi
