#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/team.h"
#include "engine/kernels/gather.h"
#include "engine/kernels/scatter.h"
#include "engine/onednn/weight_cache.h"
#include "engine/onnx/import.h"
#include "engine/ops/index_range.h"
#include "engine/passes/pass.h"
#include "engine/plan/ends.h"
#include "engine/plan/plan.h"
#include "engine/plan/runner.h"
#include "engine/quant/calibration_table.h"
#include "engine/quant/range.h"

namespace hachi {
namespace {

// What one more run costs, in rows' worth of time: the fixed cost of its steps. Guessed between a small
// network's (several rows) and a large one's (none).
constexpr double kRunOverheadRows = 0.5;

// A first run that takes longer is timed as it is: what it does once is little beside it. Guessed.
constexpr absl::Duration kLongRun = absl::Milliseconds(50);

class Context final : public RunContext {
 public:
  PlanRunner runner;
  std::vector<std::span<const std::byte>> chunks;  // kept from run to run
};

// How a batch of n rows is cut into runs of sizes that have plans, padded where that is cheaper.
class Cover {
 public:
  Cover() = default;

  // REQUIRES: sizes ascend from 1.
  explicit Cover(const std::vector<int64_t>& sizes) : first_(static_cast<size_t>(sizes.back()) + 1) {
    std::vector<double> cost(first_.size());
    for (size_t rows = 1; rows < first_.size(); ++rows) {
      cost[rows] = INFINITY;
      for (size_t i = 0; i < sizes.size(); ++i) {
        const auto size = static_cast<size_t>(sizes[i]);
        const double total = sizes[i] + kRunOverheadRows + (size < rows ? cost[rows - size] : 0.0);
        if (total < cost[rows]) {
          cost[rows] = total;
          first_[rows] = i;
        }
      }
    }
  }

  // The index of the size to run first.
  size_t First(int64_t rows) const { return first_[static_cast<size_t>(rows)]; }

 private:
  std::vector<size_t> first_;
};

// 1, 2, 4 ... and the largest itself.
std::vector<int64_t> PlanSizes(int64_t max_rows) {
  std::vector<int64_t> sizes;
  for (int64_t size = 1; size < max_rows; size *= 2) sizes.push_back(size);
  sizes.push_back(max_rows);
  return sizes;
}

StepFacts FactsOf(const PlannedStep& step) {
  StepFacts facts{.name = step.name,
                  .op = step.op,
                  .precision = step.precision,
                  .kernel = step.step->info().kernel.name,
                  .shape = step.outputs[0].spec.shape,
                  .macs = step.macs,
                  .bytes = step.bytes};
  for (const OfferAnswer& offer : step.answers)
    facts.answers.push_back({std::string(offer.offer), std::string(offer.answer.message())});
  return facts;
}

class Loader;

class LoadedModel final : public Model {
 public:
  const Signature& signature() const override { return signature_; }
  const ModelInfo& info() const override { return info_; }

  absl::StatusOr<RunTimes> Run(RunContext& run_context, std::span<const Rows> requests) const override {
    Context& context = static_cast<Context&>(run_context);
    RunTimes times;
    int64_t rows = 0;
    for (const Rows& request : requests) rows += request.count;
    for (int64_t begin = 0; begin < rows;) {
      const size_t index = cover_.First(rows - begin);
      const int64_t count = std::min(sizes_[index], rows - begin);
      BoundPlan& plan = context.runner.Bind(plans_[index]);

      const absl::Time start = absl::Now();
      ForEachPart(requests, begin, count, [&](const Rows& request, int64_t skip, int64_t part, int64_t at) {
        GatherPart(context, plan, *plans_[index], request, skip, part, at);
      });
      for (size_t i = 0; i < gathers_.size(); ++i)
        PadRows(plan.Input(i), RowBytes(plans_[index]->inputs()[i]), count, sizes_[index]);
      const absl::Time gathered = absl::Now();
      RETURN_IF_ERROR(plan.Run(context.runner.stream()));
      const absl::Time computed = absl::Now();
      ForEachPart(requests, begin, count, [&](const Rows& request, int64_t skip, int64_t part, int64_t at) {
        ScatterPart(plan, *plans_[index], request, skip, part, at);
      });
      times.gather += gathered - start;
      times.compute += computed - gathered;
      times.scatter += absl::Now() - computed;
      begin += count;
    }
    return times;
  }

  absl::StatusOr<std::string> PlanText(int64_t rows) const override {
    ASSIGN_OR_RETURN(const auto plan, PlanFor(rows));
    return plan->ToText();
  }

  absl::StatusOr<std::vector<StepFacts>> Steps(int64_t rows) const override {
    ASSIGN_OR_RETURN(const auto plan, PlanFor(rows));
    std::vector<StepFacts> steps;
    for (const PlannedStep& step : plan->steps()) steps.push_back(FactsOf(step));
    return steps;
  }

  absl::StatusOr<std::vector<StepProfile>> Profile(RunContext& run_context, int64_t rows,
                                                   int runs) const override {
    ASSIGN_OR_RETURN(const auto plan, PlanFor(rows));
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

 private:
  absl::StatusOr<std::shared_ptr<const Plan>> PlanFor(int64_t rows) const {
    const auto size = std::ranges::lower_bound(sizes_, rows);
    if (rows < 1 || size == sizes_.end())
      return absl::InvalidArgumentError(
          absl::StrCat("a batch of ", rows, " rows, expected 1 to ", sizes_.back()));
    return plans_[static_cast<size_t>(size - sizes_.begin())];
  }

  // Calls fn(request, rows of it to skip, rows, where in the batch) for what rows [begin, begin + count) of
  // all requests together are made of.
  template <typename Fn>
  static void ForEachPart(std::span<const Rows> requests, int64_t begin, int64_t count, const Fn& fn) {
    int64_t first = 0;  // of the request, among all rows
    for (const Rows& request : requests) {
      const int64_t from = std::max(begin, first), to = std::min(begin + count, first + request.count);
      if (from < to) fn(request, from - first, to - from, from - begin);
      first += request.count;
    }
  }

  // Of an input or output of a plan, in the batch tensor.
  int64_t RowBytes(const Place& place) const {
    return signature_.batched ? place.spec.bytes() / place.spec.shape[0] : place.spec.bytes();
  }

  void GatherPart(Context& context, BoundPlan& bound, const Plan& plan, const Rows& request, int64_t skip,
                  int64_t rows, int64_t at) const {
    for (size_t i = 0; i < gathers_.size(); ++i) {
      std::span<const std::span<const std::byte>> chunks = request.inputs[i];
      if (skip > 0) {
        context.chunks.assign(chunks.begin(), chunks.end());
        size_t bytes = static_cast<size_t>(skip) * signature_.inputs[i].row_bytes();
        for (std::span<const std::byte>& chunk : context.chunks) {
          const size_t skipped = std::min(bytes, chunk.size());
          chunk = chunk.subspan(skipped);
          bytes -= skipped;
        }
        chunks = context.chunks;
      }
      gathers_[i].Run(chunks, rows, bound.Input(i) + at * RowBytes(plan.inputs()[i]));
    }
  }

  // Rows beyond `count` are copies of the first: any row will do, as long as it is one.
  static void PadRows(std::byte* input, int64_t row_bytes, int64_t count, int64_t size) {
    for (int64_t row = count; row < size; ++row)
      std::memcpy(input + row * row_bytes, input, static_cast<size_t>(row_bytes));
  }

  void ScatterPart(BoundPlan& bound, const Plan& plan, const Rows& request, int64_t skip, int64_t rows,
                   int64_t at) const {
    for (size_t i = 0; i < scatters_.size(); ++i) {
      if (request.outputs[i].empty()) continue;
      const Place& place = plan.outputs()[i];
      const size_t row_bytes = signature_.outputs[i].row_bytes();
      scatters_[i].Run(bound.At(place) + at * RowBytes(place), rows,
                       request.outputs[i].subspan(static_cast<size_t>(skip) * row_bytes,
                                                  static_cast<size_t>(rows) * row_bytes));
    }
  }

  Signature signature_;
  ModelInfo info_;
  std::vector<Gather> gathers_;    // one an input
  std::vector<Scatter> scatters_;  // one an output
  std::vector<int64_t> sizes_;     // of batches that have plans, ascending from 1
  std::vector<std::shared_ptr<const Plan>> plans_;
  Cover cover_;

  friend Loader;
};

// The steps of one load.
class Loader {
 public:
  explicit Loader(const LoadOptions& options) : options_(options) {}

  absl::StatusOr<std::unique_ptr<Model>> Load() {
    SetTeam(options_.threads);
    ASSIGN_OR_RETURN(graph_, ImportOnnx(options_.model));
    RETURN_IF_ERROR(DecidePrecision());
    RETURN_IF_ERROR(CheckPassNames(options_.skip_passes));
    pass_options_.skip = options_.skip_passes;
    pass_options_.on_pass = options_.on_pass;
    pass_options_.report_changes = options_.explain;
    RETURN_IF_ERROR(RunPasses(graph_, PreparePasses(), pass_options_));
    RETURN_IF_ERROR(MakeSignature());
    RETURN_IF_ERROR(RunPasses(graph_, OptimizePasses(), pass_options_));
    RETURN_IF_ERROR(MakeEnds());
    RETURN_IF_ERROR(MakePlans());
    RETURN_IF_ERROR(WarmUp());
    FillInfo();
    return std::move(model_);
  }

 private:
  absl::Status DecidePrecision() {
    const bool has_quantizers =
        std::ranges::any_of(graph_.nodes(), [](const auto& node) { return node->op == "DequantizeLinear"; });
    Precision precision = options_.precision;
    if (precision == Precision::kAuto)
      precision = !options_.table.empty() || has_quantizers ? Precision::kInt8 : Precision::kFp32;
    model_->info_.precision = precision == Precision::kInt8 ? "int8" : "fp32";
    if (precision == Precision::kBf16)
      return absl::UnimplementedError("precision bf16 is not supported, expected int8 or fp32");
    if (precision != Precision::kInt8) return absl::OkStatus();
    if (options_.table.empty() && !has_quantizers)
      return absl::InvalidArgumentError(
          "precision int8 without a calibration table, expected one beside the model, or a model with "
          "QuantizeLinear and DequantizeLinear nodes");
    if (options_.table.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(table_, CalibrationTable::Read(options_.table));
    ASSIGN_OR_RETURN(const std::string sha256, ModelSha256(options_.model));
    RETURN_IF_ERROR(
        WithContext(table_->CheckBelongsTo(sha256), absl::StrCat("'", options_.table.string(), "'")));
    pass_options_.table = &*table_;
    ASSIGN_OR_RETURN(pass_options_.range_method, ParseRangeMethod(options_.range_method));
    pass_options_.weight_bits = HasVnni(DetectIsa()) ? 8 : 7;
    // Kernels without VNNI shift s8 sources and halve weights to make room; u8 is exact.
    pass_options_.signed_activations = HasVnni(DetectIsa());
    for (const auto& [pattern, pin] : options_.layers) {
      if (pin == Precision::kBf16)
        return absl::UnimplementedError(
            absl::StrCat("layers: '", pattern, "': bf16 is not supported, expected int8 or fp32"));
      pass_options_.pins[pattern] = pin == Precision::kInt8;
    }
    return absl::OkStatus();
  }

  // From the graph as the file has it, and the options; batches where a symbol counts the rows of all.
  absl::Status MakeSignature() {
    Signature& signature = model_->signature_;
    RETURN_IF_ERROR(CheckInputNames(graph_, options_.inputs));
    rows_ = RowsSymbol(graph_);
    signature.batched = rows_.has_value();
    for (const Value* input : graph_.inputs()) {
      const std::string what = absl::StrCat("input '", input->name, "'");
      ASSIGN_OR_RETURN(const Shape row_shape, RowShape(what, *input->dims, rows_));
      InputOptions client{.dtype = input->dtype};
      if (const auto own = options_.inputs.find(input->name); own != options_.inputs.end()) {
        if (input->dtype != DType::kF32)
          return absl::InvalidArgumentError(
              absl::StrCat(what, " has type ", std::string(NameOf(input->dtype)),
                           ", expected f32 where dtype, layout, mean or scale are configured"));
        client = own->second;
      }
      signature.inputs.push_back(
          {input->name, client.dtype, ClientRowShape(row_shape, client), IndexRange(*input)});
      ends_.push_back({row_shape, std::move(client)});
    }
    for (const Graph::Output& output : graph_.outputs()) {
      ASSIGN_OR_RETURN(Shape dims,
                       RowShape(absl::StrCat("output '", output.name, "'"), *output.value->dims, rows_));
      signature.outputs.push_back({output.name, output.value->dtype, std::move(dims)});
    }
    return absl::OkStatus();
  }

  // What brings rows in and out, by what the passes made of the graph's inputs and outputs.
  absl::Status MakeEnds() {
    const bool batched = model_->signature_.batched;
    for (size_t i = 0; i < graph_.inputs().size(); ++i) {
      ASSIGN_OR_RETURN(Gather gather,
                       MakeGather(*graph_.inputs()[i], ends_[i].row_shape, ends_[i].client, batched));
      model_->gathers_.push_back(std::move(gather));
    }
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      const Value& output = *graph_.outputs()[i].value;
      auto scatter = Scatter::Create({.dtype = output.dtype,
                                      .quant = output.quant,
                                      .layout = LayoutOfRows(output, batched),
                                      .row_shape = model_->signature_.outputs[i].dims,
                                      .client_dtype = model_->signature_.outputs[i].dtype});
      if (!scatter.ok())
        return WithContext(scatter.status(), absl::StrCat("output '", graph_.outputs()[i].name, "'"));
      model_->scatters_.push_back(*std::move(scatter));
    }
    return absl::OkStatus();
  }

  absl::Status MakePlans() {
    model_->sizes_ = PlanSizes(model_->signature_.batched ? options_.max_batch_rows : 1);
    // The largest first: its choice of packed layouts is worth most, and the others take it where they can.
    model_->plans_.resize(model_->sizes_.size());
    for (size_t i = model_->sizes_.size(); i-- > 0;) {
      ASSIGN_OR_RETURN(model_->plans_[i], Plan::Create(graph_, BindRows(rows_, model_->sizes_[i]), weights_,
                                                       {.explain = options_.explain}));
    }
    model_->cover_ = Cover(model_->sizes_);
    return absl::OkStatus();
  }

  // Every plan on zeros: what libraries put off until a first run happens now. Short runs twice, for a time
  // without that.
  absl::Status WarmUp() {
    PlanRunner runner;
    for (size_t i = model_->plans_.size(); i-- > 0;) {
      const Plan& plan = *model_->plans_[i];
      BoundPlan& bound = runner.Bind(model_->plans_[i]);
      for (size_t k = 0; k < plan.inputs().size(); ++k)
        std::memset(bound.Input(k), 0, static_cast<size_t>(plan.inputs()[k].spec.bytes()));
      absl::Duration& time = model_->info_.run_times[model_->sizes_[i]];
      for (bool again : {false, true}) {
        if (again && time > kLongRun) break;
        const absl::Time start = absl::Now();
        RETURN_IF_ERROR(bound.Run(runner.stream()));
        time = absl::Now() - start;
      }
    }
    return absl::OkStatus();
  }

  void FillInfo() {
    ModelInfo& info = model_->info_;
    info.isa = std::string(NameOf(DetectIsa()));
    info.weights_bytes = weights_.bytes();
    info.weights_copies = weights_.extra_copies();
    const Plan& one = *model_->plans_.front();
    for (const auto& plan : model_->plans_)
      info.arena_bytes = std::max(info.arena_bytes, static_cast<int64_t>(plan->arena_bytes()));
    for (const PlannedStep& step : one.steps()) {
      const StepInfo& kernel = step.step->info();
      if (kernel.kernel.reference) info.reference_steps[step.name] = kernel.why_reference;
      if (!kernel.view) ++info.layers_by_precision[step.precision == "f32" ? "fp32" : step.precision];
    }
    info.macs_per_row = one.macs();
    if (one.macs() > 0) {
      info.int8_mac_ratio = static_cast<double>(one.int8_macs()) / static_cast<double>(one.macs());
      info.vnni_mac_ratio = static_cast<double>(one.vnni_macs()) / static_cast<double>(one.macs());
    }
  }

  const LoadOptions& options_;
  Graph graph_;
  std::optional<CalibrationTable> table_;
  PassOptions pass_options_;
  // Of each input: a row in the model's order of axes, and what clients send.
  struct End {
    Shape row_shape;
    InputOptions client;
  };
  std::optional<Dim> rows_;  // the symbol that counts them; nullopt: the model takes whole tensors
  std::vector<End> ends_;
  WeightCache weights_;
  std::unique_ptr<LoadedModel> model_ = std::make_unique<LoadedModel>();
};

}  // namespace

std::unique_ptr<RunContext> NewRunContext() { return std::make_unique<Context>(); }

absl::StatusOr<std::unique_ptr<Model>> LoadModel(const LoadOptions& options) {
  return Loader(options).Load();
}

}  // namespace hachi
