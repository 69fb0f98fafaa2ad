#include "engine/run/loaded_model.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/passes/infer_graph.h"
#include "engine/run/box_copy.h"
#include "engine/run/ends.h"

namespace hachi {
namespace {

// A first run that takes longer is timed as it is: what it does once is little beside it. Guessed.
constexpr absl::Duration kLongRun = absl::Milliseconds(10);

class Context final : public RunContext {
 public:
  explicit Context(Team its_team) : team(its_team) {}

  const Team team;
  PlanRunner runner;
  // Kept from run to run.
  std::vector<std::span<const std::byte>> chunks;
  std::vector<std::byte> row, padded_row;
};

// Plans that would take longer, going by those of fewer rows, are not run before a request comes: a load
// would take as long. Guessed.
constexpr absl::Duration kLongestWarmUp = absl::Milliseconds(100);

// The plan on zeros: what libraries put off until a first run happens now. Short runs again, for a time
// without that and without what else the machine did meanwhile: the shortest.
absl::StatusOr<absl::Duration> TimeOf(const std::shared_ptr<const Plan>& plan, PlanRunner& runner) {
  BoundPlan& bound = runner.Bind(plan);
  for (size_t i = 0; i < plan->inputs().size(); ++i)
    std::memset(bound.Input(i), 0, static_cast<size_t>(plan->inputs()[i].spec.bytes()));
  absl::Duration shortest = absl::InfiniteDuration();
  for (int run = 0; run < 3 && (run == 0 || shortest < kLongRun); ++run) {
    const absl::Time start = absl::Now();
    RETURN_IF_ERROR(bound.Run(runner.stream()));
    shortest = std::min(shortest, absl::Now() - start);
  }
  return shortest;
}

size_t BytesOf(const Shape& shape, DType dtype) {
  return static_cast<size_t>(CountOf(shape)) * SizeOf(dtype);
}

TensorFacts FactsOf(const Place& place) {
  TensorFacts facts{.name = place.name, .dtype = place.spec.dtype};
  if (!place.spec.is_quantized_byte()) return facts;
  const auto [least, most] = place.spec.dtype == DType::kU8 ? std::pair(0, 255) : std::pair(-128, 127);
  const QuantParams& quant = *place.spec.quant;
  for (size_t i = 0; i < quant.scales.size(); ++i) {
    facts.low = std::min(facts.low, static_cast<float>(least - quant.zero_points[i]) * quant.scales[i]);
    facts.high = std::max(facts.high, static_cast<float>(most - quant.zero_points[i]) * quant.scales[i]);
  }
  return facts;
}

StepFacts FactsOf(const PlannedStep& step) {
  StepFacts facts{.name = step.name,
                  .op = step.op,
                  .precision = step.precision,
                  .kernel = step.step->info().kernel.name,
                  .isa = std::string(NameOf(step.step->info().kernel.isa)),
                  .vnni = step.step->info().kernel.vnni,
                  .shape = step.outputs[0].spec.shape,
                  .macs = step.macs,
                  .bytes = step.bytes};
  for (const Place& input : step.inputs)
    if (!input.name.empty()) facts.inputs.push_back(FactsOf(input));
  for (const Place& output : step.outputs) facts.outputs.push_back(FactsOf(output));
  for (const OfferAnswer& offer : step.answers)
    facts.answers.push_back({std::string(offer.offer), std::string(offer.answer.message())});
  return facts;
}

// Infers once more with numbers: symbols that were taken to be equal may turn out not to be.
// INVALID_ARGUMENT, naming the node.
absl::Status CheckShapes(const Graph& graph, const Bindings& bindings) {
  Graph numbers = graph.Clone();
  for (Value* input : numbers.inputs()) {
    ASSIGN_OR_RETURN(const Shape shape, Evaluate(*input->dims, bindings));
    input->dims = SymbolicShape(shape.begin(), shape.end());
  }
  RETURN_IF_ERROR(InferGraph(numbers));
  for (const auto& [name, value] : graph.values()) {
    const Value* checked = numbers.FindValue(name);
    if (value->is_constant() || checked == nullptr) continue;
    ASSIGN_OR_RETURN(const Shape shape, Evaluate(*value->dims, bindings));
    if (ConstantShape(*checked->dims) != shape)
      return absl::InvalidArgumentError(absl::StrCat("'", name, "' has shape ", ShapeText(*checked->dims),
                                                     " for these inputs, expected ", ShapeText(shape)));
  }
  return absl::OkStatus();
}

// One padding element, as clients would send it.
void FillWith(double value, DType dtype, std::vector<std::byte>& row) {
  const auto fill = [&]<typename T>(T element) {
    for (size_t at = 0; at + sizeof(T) <= row.size(); at += sizeof(T))
      std::memcpy(row.data() + at, &element, sizeof(T));
  };
  switch (dtype) {
    case DType::kF32:
      return fill(static_cast<float>(value));
    case DType::kS64:
      return fill(static_cast<int64_t>(value));
    case DType::kS32:
      return fill(static_cast<int32_t>(value));
    case DType::kS8:
      return fill(static_cast<int8_t>(value));
    case DType::kU8:
    case DType::kBool:
      return fill(static_cast<uint8_t>(value));
    default:
      std::ranges::fill(row, std::byte{0});
  }
}

// Calls fn(request, rows of it to skip, rows, where in the batch) for what rows [begin, begin + count) of all
// requests together are made of.
template <typename Fn>
void ForEachPart(std::span<const Rows> requests, int64_t begin, int64_t count, const Fn& fn) {
  int64_t first = 0;  // of the request, among all rows
  for (const Rows& request : requests) {
    const int64_t from = std::max(begin, first), to = std::min(begin + count, first + request.count);
    if (from < to) fn(request, from - first, to - from, from - begin);
    first += request.count;
  }
}

// Rows beyond `count` are copies of the first: any row will do, as long as it is one.
void PadRows(std::byte* input, size_t row_bytes, int64_t count, int64_t size) {
  for (int64_t row = count; row < size; ++row)
    std::memcpy(input + static_cast<size_t>(row) * row_bytes, input, row_bytes);
}

}  // namespace

// What one run of one plan takes in and lets out.
class LoadedModel::Batch {
 public:
  Batch(const Compiled& compiled, const ShapePlans& set, Context& context, BoundPlan& bound, const Plan& plan)
      : compiled_(compiled), set_(set), context_(context), bound_(bound), plan_(plan) {}

  size_t RowBytes(const Place& place) const {
    const auto bytes = static_cast<size_t>(place.spec.bytes());
    return compiled_.rows ? bytes / static_cast<size_t>(place.spec.shape[0]) : bytes;
  }

  void TakeIn(const Rows& request, const RowShapes& shapes, int64_t skip, int64_t rows, int64_t at) {
    for (size_t i = 0; i < set_.ends().intakes.size(); ++i) {
      const size_t bytes = shapes.input_bytes[i];
      const auto chunks = Skipped(request.inputs[i], static_cast<size_t>(skip) * bytes);
      std::byte* dst = bound_.Input(i) + static_cast<size_t>(at) * RowBytes(plan_.inputs()[i]);
      const Shape& padded = set_.ends().client_inputs[i];
      if (padded == shapes.inputs[i])
        set_.ends().intakes[i].Run(chunks, rows, dst);
      else
        TakeInPadded(i, shapes.inputs[i], padded, chunks, rows, dst);
    }
  }

  void LetOut(const Rows& request, const RowShapes& shapes, int64_t skip, int64_t rows, int64_t at) {
    for (size_t i = 0; i < set_.ends().outlets.size(); ++i) {
      if (request.outputs[i].empty()) continue;
      const Place& place = plan_.outputs()[i];
      const size_t bytes = shapes.output_bytes[i];
      const std::byte* src = bound_.At(place) + static_cast<size_t>(at) * RowBytes(place);
      const std::span<std::byte> dst =
          request.outputs[i].subspan(static_cast<size_t>(skip) * bytes, static_cast<size_t>(rows) * bytes);
      const Outlet& outlet = set_.ends().outlets[i];
      const Shape& padded = set_.ends().outputs[i];
      if (padded == shapes.outputs[i]) {
        outlet.Run(src, rows, dst);
        continue;
      }
      const size_t element = SizeOf(compiled_.signature.outputs[i].dtype);
      context_.padded_row.resize(BytesOf(padded, compiled_.signature.outputs[i].dtype));
      for (int64_t row = 0; row < rows; ++row) {
        outlet.Run(src + static_cast<size_t>(row) * RowBytes(place), 1, context_.padded_row);
        CopyBox(context_.padded_row.data(), padded, dst.data() + static_cast<size_t>(row) * bytes,
                shapes.outputs[i], shapes.outputs[i], element);
      }
    }
  }

 private:
  // The chunks without their first bytes.
  std::span<const std::span<const std::byte>> Skipped(const std::vector<std::span<const std::byte>>& chunks,
                                                      size_t bytes) {
    if (bytes == 0) return chunks;
    context_.chunks.assign(chunks.begin(), chunks.end());
    for (std::span<const std::byte>& chunk : context_.chunks) {
      const size_t skipped = std::min(bytes, chunk.size());
      chunk = chunk.subspan(skipped);
      bytes -= skipped;
    }
    return context_.chunks;
  }

  void TakeInPadded(size_t i, const Shape& shape, const Shape& padded,
                    std::span<const std::span<const std::byte>> chunks, int64_t rows, std::byte* dst) {
    const DType dtype = compiled_.signature.inputs[i].dtype;
    context_.row.resize(BytesOf(shape, dtype));
    context_.padded_row.resize(BytesOf(padded, dtype));
    double pad = 0;
    for (const auto& [symbol, dim] : compiled_.inputs[i].dims) pad = dim.pad;
    size_t chunk = 0, offset = 0;
    for (int64_t row = 0; row < rows; ++row) {
      for (size_t filled = 0; filled < context_.row.size();) {
        const std::span<const std::byte> rest = chunks[chunk].subspan(offset);
        const size_t taken = std::min(rest.size(), context_.row.size() - filled);
        std::memcpy(context_.row.data() + filled, rest.data(), taken);
        filled += taken;
        offset += taken;
        if (offset == chunks[chunk].size()) {
          ++chunk;
          offset = 0;
        }
      }
      FillWith(pad, dtype, context_.padded_row);
      CopyBox(context_.row.data(), shape, context_.padded_row.data(), padded, shape, SizeOf(dtype));
      const std::span<const std::byte> one(context_.padded_row);
      set_.ends().intakes[i].Run({&one, 1}, 1, dst + static_cast<size_t>(row) * RowBytes(plan_.inputs()[i]));
    }
  }

  const Compiled& compiled_;
  const ShapePlans& set_;
  Context& context_;
  BoundPlan& bound_;
  const Plan& plan_;
};

absl::StatusOr<std::unique_ptr<Model>> LoadedModel::Create(Compiled compiled) {
  std::unique_ptr<LoadedModel> model(new LoadedModel(std::move(compiled)));
  const Compiled& made = model->compiled_;
  for (const Value* input : made.graph.inputs())
    for (const Dim& dim : RowDims(*input->dims, made.rows))
      if (!dim.constant()) model->symbols_.insert(dim.ToText());
  for (const InputOptions& input : made.inputs)
    for (const auto& [symbol, dim] : input.dims) {
      if (dim.pad != input.dims.begin()->second.pad)
        return absl::InvalidArgumentError(absl::StrCat("inputs: dimension '", symbol, "' is padded with ",
                                                       dim.pad,
                                                       ", expected one pad for all dimensions of an input"));
      const auto [bound, is_new] = model->bounds_.try_emplace(symbol, dim);
      if (!is_new && (bound->second.max != dim.max || bound->second.buckets != dim.buckets))
        return absl::InvalidArgumentError(absl::StrCat(
            "inputs: dimension '", symbol, "' has two sets of bounds, expected the same in every input"));
    }
  RETURN_IF_ERROR(model->is_free() ? model->MakeTrialPlans() : model->MakeFixedPlans());
  return model;
}

absl::Status LoadedModel::MakeFixedPlans() {
  ASSIGN_OR_RETURN(const auto set, SetFor({}));
  auto shapes = std::make_shared<RowShapes>();
  shapes->outputs = set->ends().outputs;
  for (size_t i = 0; i < compiled_.inputs.size(); ++i) {
    shapes->inputs.push_back(set->ends().client_inputs[i]);
    shapes->input_bytes.push_back(compiled_.signature.inputs[i].row_bytes());
  }
  for (const TensorSignature& output : compiled_.signature.outputs)
    shapes->output_bytes.push_back(output.row_bytes());
  shapes->plans = set;
  fixed_shapes_ = std::move(shapes);
  // The largest first: its choice of packed layouts is worth most, and the others take it where they can.
  PlanRunner warm_up;
  const std::vector<int64_t> sizes = Sizes();
  for (auto rows = sizes.rbegin(); rows != sizes.rend(); ++rows)
    RETURN_IF_ERROR(MakePlan(*set, Team::kWorker, *rows));
  for (const int64_t rows : sizes) RETURN_IF_ERROR(WarmUp(*set, Team::kWorker, rows, warm_up));
  FillInfo(*set->PlanFor(1), *set);
  if (compiled_.wide_threads == 0) compiled_.graph = Graph();
  return absl::OkStatus();
}

absl::Status LoadedModel::MakeTrialPlans() {
  absl::Status status;
  PlanRunner warm_up;
  for (const int64_t size : kTrialSizes) {
    Bindings trial;
    for (const std::string& symbol : symbols_) trial[symbol] = std::min(size, Largest(symbol).value_or(size));
    // What stands first counts rows, mostly, also where they are not proven independent.
    for (const Value* input : compiled_.graph.inputs())
      if (input->rank() > 1 && !compiled_.rows && trial.contains(input->dims->front().ToText()))
        trial[input->dims->front().ToText()] = 1;
    const auto padded = Pad(trial);
    RETURN_IF_ERROR(padded.status());
    const auto set = SetFor(*padded);
    status = set.status();
    if (status.ok()) status = MakePlan(**set, Team::kWorker, 1);
    if (status.ok()) status = WarmUp(**set, Team::kWorker, 1, warm_up);
    if (!status.ok()) continue;
    FillInfo(*(*set)->PlanFor(1), **set);
    return absl::OkStatus();
  }
  return status;
}

void LoadedModel::FillInfo(const Plan& one, const ShapePlans& set) {
  ModelInfo& info = compiled_.info;
  info.isa = std::string(NameOf(compiled_.plan_options.isa));
  info.weights_bytes = weights_.bytes();
  info.weights_copies = weights_.extra_copies();
  for (const auto& plan : set.sizes(Team::kWorker)->plans)
    info.arena_bytes = std::max(info.arena_bytes, static_cast<int64_t>(plan->arena_bytes()));
  for (const PlannedStep& step : one.steps()) {
    const StepInfo& kernel = step.step->info();
    if (kernel.kernel.reference) info.reference_steps[step.name] = kernel.why_reference;
    if (!kernel.view) ++info.layers_by_precision[step.precision == "f32" ? "fp32" : step.precision];
  }
  info.macs_per_row = one.macs();
  if (one.macs() == 0) return;
  info.int8_mac_ratio = static_cast<double>(one.int8_macs()) / static_cast<double>(one.macs());
  info.vnni_mac_ratio = static_cast<double>(one.vnni_macs()) / static_cast<double>(one.macs());
}

absl::StatusOr<Bindings> LoadedModel::Bind(std::span<const std::vector<int64_t>> inputs) const {
  Bindings bindings;
  for (size_t i = 0; i < compiled_.inputs.size(); ++i) {
    const Value& input = *compiled_.graph.inputs()[i];
    const std::string what = absl::StrCat("input '", input.name, "'");
    const SymbolicShape dims = ToClient(RowDims(*input.dims, compiled_.rows), compiled_.inputs[i]);
    RETURN_IF_ERROR(WithContext(MatchDims(dims, inputs[i], bindings), what));
  }
  return bindings;
}

absl::StatusOr<Bindings> LoadedModel::Pad(const Bindings& bindings) const {
  Bindings padded = bindings;
  for (auto& [symbol, size] : padded) {
    const auto bound = bounds_.find(symbol);
    if (bound == bounds_.end()) continue;
    const std::optional<int64_t> largest = Largest(symbol);
    if (largest && size > *largest)
      return absl::InvalidArgumentError(
          absl::StrCat("dimension '", symbol, "' is ", size, ", expected at most ", *largest));
    const std::vector<int64_t>& buckets = bound->second.buckets;
    if (!buckets.empty()) size = *std::ranges::lower_bound(buckets, size);
  }
  return padded;
}

std::optional<int64_t> LoadedModel::Largest(const std::string& symbol) const {
  const auto bound = bounds_.find(symbol);
  if (bound == bounds_.end()) return std::nullopt;
  const std::vector<int64_t>& buckets = bound->second.buckets;
  if (bound->second.max || buckets.empty()) return bound->second.max;
  return buckets.back();
}

absl::StatusOr<std::vector<Shape>> LoadedModel::RowsOf(bool inputs, const Bindings& bindings) const {
  std::vector<Shape> rows;
  const auto add = [&](const Value& value) -> absl::Status {
    ASSIGN_OR_RETURN(Shape shape, Evaluate(RowDims(*value.dims, compiled_.rows), bindings));
    for (const int64_t size : shape)
      if (size < 0)
        return absl::InvalidArgumentError(absl::StrCat("'", value.name, "' would have shape ",
                                                       ShapeText(shape), ", expected no negative dimension"));
    rows.push_back(std::move(shape));
    return absl::OkStatus();
  };
  if (inputs)
    for (const Value* input : compiled_.graph.inputs()) RETURN_IF_ERROR(add(*input));
  else
    for (const Graph::Output& output : compiled_.graph.outputs()) RETURN_IF_ERROR(add(*output.value));
  return rows;
}

absl::StatusOr<ShapePlans::Ends> LoadedModel::MakeEnds(const Bindings& bindings) const {
  ShapePlans::Ends ends;
  ends.bindings = bindings;
  ASSIGN_OR_RETURN(ends.inputs, RowsOf(/*inputs=*/true, bindings));
  ASSIGN_OR_RETURN(ends.outputs, RowsOf(/*inputs=*/false, bindings));
  const bool batched = compiled_.rows.has_value();
  for (size_t i = 0; i < ends.inputs.size(); ++i) {
    ASSIGN_OR_RETURN(Intake intake,
                     MakeIntake(*compiled_.graph.inputs()[i], ends.inputs[i], compiled_.inputs[i], batched));
    ends.intakes.push_back(std::move(intake));
    ends.client_inputs.push_back(ToClient(ends.inputs[i], compiled_.inputs[i]));
  }
  for (size_t i = 0; i < ends.outputs.size(); ++i) {
    const Graph::Output& output = compiled_.graph.outputs()[i];
    // Clients may want the integers themselves.
    const bool as_stored = compiled_.signature.outputs[i].dtype == output.value->dtype;
    auto outlet = Outlet::Create({.dtype = output.value->dtype,
                                  .quant = as_stored ? std::nullopt : output.value->quant,
                                  .layout = LayoutOfRows(*output.value, batched),
                                  .row_shape = ends.outputs[i],
                                  .client_dtype = compiled_.signature.outputs[i].dtype});
    if (!outlet.ok()) return WithContext(outlet.status(), absl::StrCat("output '", output.name, "'"));
    ends.outlets.push_back(*std::move(outlet));
  }
  return ends;
}

absl::Status LoadedModel::CheckFits(const Bindings& bindings) const {
  Bindings one_row = bindings;
  if (compiled_.rows) one_row[compiled_.rows->ToText()] = 1;
  for (const auto& node : compiled_.graph.nodes()) {
    int64_t bytes = 0;
    const auto add = [&](const Value* value) -> absl::Status {
      if (value == nullptr || value->is_constant()) return absl::OkStatus();
      ASSIGN_OR_RETURN(const int64_t count, CountOf(*value->dims).Evaluate(one_row));
      if (count < 0)
        return absl::InvalidArgumentError(absl::StrCat("node '", node->name, "': '", value->name,
                                                       "' would have a negative dimension at ",
                                                       ShapeText(*value->dims)));
      const int64_t room = compiled_.plan_bytes - bytes;
      if (count > room / static_cast<int64_t>(SizeOf(value->dtype)))
        return absl::ResourceExhaustedError(
            absl::StrCat("node '", node->name, "' alone would take more than ", compiled_.plan_bytes,
                         " bytes, the limit of a model's plans"));
      bytes += count * static_cast<int64_t>(SizeOf(value->dtype));
      return absl::OkStatus();
    };
    for (const Value* input : node->inputs) RETURN_IF_ERROR(add(input));
    for (const Value* output : node->outputs) RETURN_IF_ERROR(add(output));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<ShapePlans>> LoadedModel::SetFor(const Bindings& bindings) const {
  {
    MutexLock lock(mutex_);
    if (const auto found = set_of_.find(bindings); found != set_of_.end()) {
      sets_.splice(sets_.begin(), sets_, found->second);
      return sets_.front();
    }
  }
  if (is_free()) RETURN_IF_ERROR(CheckFits(bindings));
  ASSIGN_OR_RETURN(ShapePlans::Ends ends, MakeEnds(bindings));
  MutexLock lock(mutex_);
  if (const auto found = set_of_.find(bindings); found != set_of_.end())
    return *found->second;  // another thread was faster
  // Shapes that were refused before a plan was made leave nothing behind.
  for (auto set = sets_.begin(); set != sets_.end();)
    set = set->use_count() == 1 && (*set)->largest_rows() == 0 ? Drop(set) : std::next(set);
  sets_.push_front(std::make_shared<ShapePlans>(std::move(ends)));
  set_of_[bindings] = sets_.begin();
  return sets_.front();
}

LoadedModel::Sets::iterator LoadedModel::Drop(Sets::iterator set) const {
  set_of_.erase((*set)->ends().bindings);
  return sets_.erase(set);
}

absl::StatusOr<std::shared_ptr<const RowShapes>> LoadedModel::ShapesOf(
    std::span<const std::vector<int64_t>> inputs, std::span<const InputChunks> /*values*/) const {
  if (fixed_shapes_ != nullptr) {
    for (size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i] != fixed_shapes_->inputs[i])
        return absl::InvalidArgumentError(absl::StrCat("input '", compiled_.signature.inputs[i].name,
                                                       "': shape is ", ShapeText(inputs[i]), ", expected ",
                                                       ShapeText(fixed_shapes_->inputs[i])));
    return fixed_shapes_;
  }
  ASSIGN_OR_RETURN(const Bindings bindings, Bind(inputs));
  ASSIGN_OR_RETURN(const Bindings padded, Pad(bindings));
  ASSIGN_OR_RETURN(const auto set, SetFor(padded));
  auto shapes = std::make_shared<RowShapes>();
  shapes->inputs.assign(inputs.begin(), inputs.end());
  ASSIGN_OR_RETURN(shapes->outputs, RowsOf(/*inputs=*/false, bindings));
  for (size_t i = 0; i < inputs.size(); ++i)
    shapes->input_bytes.push_back(BytesOf(inputs[i], compiled_.signature.inputs[i].dtype));
  for (size_t i = 0; i < shapes->outputs.size(); ++i)
    shapes->output_bytes.push_back(BytesOf(shapes->outputs[i], compiled_.signature.outputs[i].dtype));
  shapes->plans = set;
  return shapes;
}

absl::Status LoadedModel::MakePlans(const PlanSet& plans, int64_t rows, Team team) const {
  if (team == Team::kWide && compiled_.wide_threads == 0) return absl::OkStatus();
  std::shared_ptr<ShapePlans> set;
  {
    MutexLock lock(mutex_);
    const auto found =
        std::ranges::find(sets_, &plans, [](const auto& each) -> const PlanSet* { return each.get(); });
    if (found == sets_.end()) return absl::OkStatus();  // nobody wants it any more
    set = *found;
  }
  const std::vector<int64_t> sizes = Sizes();
  const auto size = std::ranges::lower_bound(sizes, std::min(rows, sizes.back()));
  MutexLock making(making_);
  PlanRunner warm_up;
  for (auto each = team == Team::kWide ? sizes.begin() : size; each <= size; ++each) {
    if (set->largest_rows(team) >= *each) continue;
    RETURN_IF_ERROR(MakePlan(*set, team, *each));
    RETURN_IF_ERROR(WarmUp(*set, team, *each, warm_up));
  }
  if (team == Team::kWide && !is_free() && *size == sizes.back()) compiled_.graph = Graph();
  return absl::OkStatus();
}

std::vector<int64_t> LoadedModel::Sizes() const {
  return PlanSizes(compiled_.rows ? compiled_.max_batch_rows : 1);
}

absl::Status LoadedModel::WarmUp(ShapePlans& set, Team team, int64_t rows, PlanRunner& runner) const {
  const auto times = set.run_times(team);
  if (const auto beyond = times.lower_bound(rows); beyond != times.begin()) {
    const auto& [fewer, time] = *std::prev(beyond);
    if (time * rows / fewer > kLongestWarmUp) return absl::OkStatus();
  }
  const std::shared_ptr<const ShapePlans::Sizes> sizes = set.sizes(team);
  const auto index = static_cast<size_t>(std::ranges::find(sizes->rows, rows) - sizes->rows.begin());
  ASSIGN_OR_RETURN(const absl::Duration time, TimeOf(sizes->plans[index], runner));
  set.NoteRunTime(team, rows, time);
  return absl::OkStatus();
}

absl::Status LoadedModel::MakePlan(ShapePlans& set, Team team, int64_t rows) const {
  SetTeam(team == Team::kWide ? compiled_.wide_threads : compiled_.threads);
  Bindings bindings = set.ends().bindings;
  if (compiled_.rows) bindings[compiled_.rows->ToText()] = rows;
  if (is_free()) RETURN_IF_ERROR(CheckShapes(compiled_.graph, bindings));
  ASSIGN_OR_RETURN(const auto plan,
                   Plan::Create(compiled_.graph, bindings, weights_, compiled_.plan_options));
  if (is_free()) {
    MutexLock lock(mutex_);
    RETURN_IF_ERROR(MakeRoom(BytesOf(*plan)));
  }
  set.Add(team, rows, plan);
  return absl::OkStatus();
}

absl::Status LoadedModel::MakeRoom(int64_t more_bytes) const {
  int64_t bytes = more_bytes;
  for (const auto& set : sets_) bytes += set->bytes();
  for (auto set = sets_.end(); bytes > compiled_.plan_bytes && set != sets_.begin();) {
    --set;
    if (set->use_count() > 1 || (*set)->largest_rows() == 0) continue;
    bytes -= (*set)->bytes();
    ++evictions_;
    set = Drop(set);
  }
  if (bytes <= compiled_.plan_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("a plan of ", more_bytes,
                                                   " bytes beside those in use makes ", bytes,
                                                   " bytes, expected at most ", compiled_.plan_bytes));
}

Model::PlanCacheStats LoadedModel::plan_cache_stats() const {
  MutexLock lock(mutex_);
  PlanCacheStats stats{.sets = static_cast<int64_t>(sets_.size()), .evictions = evictions_};
  for (const auto& set : sets_) stats.bytes += set->bytes();
  return stats;
}

absl::StatusOr<RunTimes> LoadedModel::Run(RunContext& run_context, std::span<const Rows> requests) const {
  Context& context = static_cast<Context&>(run_context);
  const auto shapes_of = [&](const Rows& request) -> const RowShapes& {
    return request.shapes == nullptr ? *fixed_shapes_ : *request.shapes;
  };
  RunTimes times;
  if (requests.empty()) return times;
  const ShapePlans& set = static_cast<const ShapePlans&>(*shapes_of(requests.front()).plans);
  const std::shared_ptr<const ShapePlans::Sizes> sizes = set.sizes(context.team);
  int64_t rows = 0;
  for (const Rows& request : requests) rows += request.count;
  for (int64_t begin = 0; begin < rows;) {
    const size_t index = sizes->cover.First(rows - begin);
    const int64_t size = sizes->rows[index], count = std::min(size, rows - begin);
    const Plan& plan = *sizes->plans[index];
    BoundPlan& bound = context.runner.Bind(sizes->plans[index]);
    Batch batch(compiled_, set, context, bound, plan);

    const absl::Time start = absl::Now();
    ForEachPart(requests, begin, count, [&](const Rows& request, int64_t skip, int64_t part, int64_t at) {
      batch.TakeIn(request, shapes_of(request), skip, part, at);
    });
    for (size_t i = 0; i < plan.inputs().size(); ++i)
      PadRows(bound.Input(i), batch.RowBytes(plan.inputs()[i]), count, size);
    const absl::Time taken_in = absl::Now();
    RETURN_IF_ERROR(bound.Run(context.runner.stream()));
    const absl::Time computed = absl::Now();
    ForEachPart(requests, begin, count, [&](const Rows& request, int64_t skip, int64_t part, int64_t at) {
      batch.LetOut(request, shapes_of(request), skip, part, at);
    });
    times.gather += taken_in - start;
    times.compute += computed - taken_in;
    times.scatter += absl::Now() - computed;
    begin += count;
  }
  return times;
}

namespace {

absl::StatusOr<std::shared_ptr<const Plan>> PlanOf(const RowShapes& shapes, int64_t rows) {
  const auto plan = static_cast<const ShapePlans&>(*shapes.plans).PlanFor(rows);
  if (plan == nullptr || rows < 1)
    return absl::InvalidArgumentError(
        absl::StrCat("a batch of ", rows, " rows, expected 1 to ", shapes.plans->largest_rows()));
  return plan;
}

}  // namespace

absl::StatusOr<std::string> LoadedModel::PlanText(const RowShapes* shapes, int64_t rows) const {
  ASSIGN_OR_RETURN(const auto plan, PlanOf(shapes != nullptr ? *shapes : *fixed_shapes_, rows));
  return plan->ToText();
}

absl::StatusOr<std::vector<StepFacts>> LoadedModel::Steps(const RowShapes* shapes, int64_t rows) const {
  ASSIGN_OR_RETURN(const auto plan, PlanOf(shapes != nullptr ? *shapes : *fixed_shapes_, rows));
  std::vector<StepFacts> steps;
  for (const PlannedStep& step : plan->steps()) steps.push_back(FactsOf(step));
  return steps;
}

absl::StatusOr<std::vector<StepProfile>> LoadedModel::Profile(RunContext& run_context,
                                                              const RowShapes* shapes, int64_t rows,
                                                              int runs) const {
  ASSIGN_OR_RETURN(const auto plan, PlanOf(shapes != nullptr ? *shapes : *fixed_shapes_, rows));
  PlanRunner& runner = static_cast<Context&>(run_context).runner;
  BoundPlan& bound = runner.Bind(plan);
  std::vector<std::vector<absl::Duration>> times(plan->steps().size());
  for (int run = 0; run < runs; ++run) {
    absl::Time last = absl::Now();
    RETURN_IF_ERROR(bound.Run(runner.stream(), [&](size_t i) {
      times[i].push_back(absl::Now() - last);
      last = absl::Now();
    }));
  }
  std::vector<StepProfile> profile;
  for (size_t i = 0; i < times.size(); ++i) {
    const auto median = times[i].begin() + runs / 2;
    std::nth_element(times[i].begin(), median, times[i].end());
    profile.push_back({FactsOf(plan->steps()[i]), *median});
  }
  return profile;
}

std::unique_ptr<RunContext> NewRunContext(Team team) { return std::make_unique<Context>(team); }

}  // namespace hachi
