#include "engine/engine.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/team.h"
#include "engine/decide/adopt_table.h"
#include "engine/decide/decisions.h"
#include "engine/decide/tuned.h"
#include "engine/onnx/import.h"
#include "engine/ops/index_range.h"
#include "engine/passes/infer_graph.h"
#include "engine/passes/pass.h"
#include "engine/quant/calibration_table.h"
#include "engine/quant/foreign_table.h"
#include "engine/quant/range.h"
#include "engine/run/ends.h"
#include "engine/run/guarded_model.h"
#include "engine/run/loaded_model.h"
#include "engine/run/prepare.h"
#include "engine/run/specialized_model.h"

namespace hachi {
namespace {

// The steps of one compilation.
class Compiler {
 public:
  // `packed`: what models of the same file share; null: nothing.
  explicit Compiler(const LoadOptions& options, std::shared_ptr<PackedWeights> packed = nullptr)
      : options_(options) {
    compiled_.packed = std::move(packed);
  }

  absl::StatusOr<std::unique_ptr<Model>> Compile(ImportedModel imported) {
    SetTeam(options_.threads);
    RETURN_IF_ERROR(CheckPassNames(options_.skip_passes));
    pass_options_.skip = options_.skip_passes;
    pass_options_.on_pass = options_.on_pass;
    pass_options_.report_changes = options_.explain;
    RETURN_IF_ERROR(DecidePrecision(imported.graph, imported.sha256));
    RETURN_IF_ERROR(CheckInputs(imported.graph, options_.inputs));
    auto prepared = PrepareGraph(imported.graph, pass_options_);
    if (!prepared.ok()) return CompileByRequest(std::move(imported), prepared.status());
    imported.graph = Graph();  // its weights are wanted no longer than passes want them
    return CompilePrepared(*std::move(prepared));
  }

  // A graph whose shapes are numbers, of a file with that hash; `is_part`: there are other stages.
  absl::StatusOr<std::unique_ptr<Model>> CompileSpecial(PreparedGraph prepared, const std::string& sha256,
                                                        bool is_part) {
    pass_options_.skip = options_.skip_passes;
    pass_options_.is_part = is_part;
    RETURN_IF_ERROR(DecidePrecision(prepared.graph, sha256));
    return CompilePrepared(std::move(prepared));
  }

 private:
  // The model of a graph that can't be prepared without knowing what a request holds; `status` says why.
  absl::StatusOr<std::unique_ptr<Model>> CompileByRequest(ImportedModel imported,
                                                          const absl::Status& status) {
    ASSIGN_OR_RETURN(auto deciding, DecidingInputs(imported.graph));  // operators that don't exist come first
    const bool is_free = std::ranges::any_of(imported.graph.inputs(),
                                             [](const Value* input) { return !ConstantShape(*input->dims); });
    if (!is_free && !absl::IsUnimplemented(status)) return status;
    const bool measures = std::ranges::any_of(imported.graph.nodes(), [](const auto& node) {
      return IsOp(node->op) && FindOp(node->op)->measured_axis != nullptr;
    });
    ModelInfo info = compiled_.info;
    info.isa = std::string(NameOf(compiled_.plan_options.isa));
    auto model = SpecializedModel::Create(
        {.imported = std::move(imported.graph),
         .deciding = std::move(deciding),
         .inputs = options_.inputs,
         .why = std::string(status.message()),
         .info = std::move(info),
         .plan_bytes = options_.plan_bytes,
         .compile = [options = options_, precision = compiled_.info.precision, packed = compiled_.packed,
                     sha256 = imported.sha256](PreparedGraph prepared, const auto& inputs, bool is_part) {
           LoadOptions special = options;
           special.precision = precision;
           special.inputs = inputs;
           return Compiler(special, packed).CompileSpecial(std::move(prepared), sha256, is_part);
         }});
    return model.ok() || measures ? std::move(model) : absl::StatusOr<std::unique_ptr<Model>>(status);
  }

  absl::StatusOr<std::unique_ptr<Model>> CompilePrepared(PreparedGraph prepared) {
    SetTeam(options_.threads);
    compiled_.graph = std::move(prepared.graph);
    compiled_.rows = std::move(prepared.rows);
    compiled_.signature.why_not_batched = std::move(prepared.why_whole);
    MakeSignature();
    RETURN_IF_ERROR(AdoptForeign());
    RETURN_IF_ERROR(RunPasses(compiled_.graph, OptimizePasses(), pass_options_));
    RETURN_IF_ERROR(CheckThatDecisionsWereTaken());
    compiled_.info.decisions = decided_.ToText();
    for (const auto& [node, decision] : decided_.by_node())
      if (!decision.kernel.empty()) compiled_.plan_options.kernels[node] = decision.kernel;
    compiled_.plan_options.explain = options_.explain;
    compiled_.threads = options_.threads;
    compiled_.wide_threads = options_.wide_threads;
    compiled_.max_batch_rows = options_.max_batch_rows;
    compiled_.plan_bytes = options_.plan_bytes;
    return LoadedModel::Create(std::move(compiled_));
  }

  absl::Status DecidePrecision(const Graph& graph, const std::string& sha256) {
    const bool has_quantizers =
        std::ranges::any_of(graph.nodes(), [](const auto& node) { return node->op == "DequantizeLinear"; });
    Precision precision = options_.precision;
    if (precision == Precision::kAuto)
      precision = !options_.table.empty() || has_quantizers ? Precision::kInt8 : Precision::kFp32;
    compiled_.info.precision = precision;
    pass_options_.weight_bits = HasVnni(compiled_.plan_options.isa) ? 8 : 7;
    // Kernels without VNNI shift s8 sources and halve weights to make room; u8 is exact.
    pass_options_.signed_activations = HasVnni(compiled_.plan_options.isa);
    if (precision == Precision::kBf16) {
      NoteBf16();
      pass_options_.bf16 = HasBf16();
      if (HasBf16()) return ReadPins();
      precision = compiled_.info.precision = Precision::kFp32;
    }
    if (precision == Precision::kInt8Dynamic || precision == Precision::kInt8Weights) {
      (precision == Precision::kInt8Dynamic ? pass_options_.dynamic : pass_options_.int8_weights) = true;
      RETURN_IF_ERROR(ReadPins());
      return ReadDecisions(sha256);
    }
    if (precision != Precision::kInt8) {
      pass_options_.pins["*"] = Precision::kFp32;  // also where the model has quantizers
      return absl::OkStatus();
    }
    if (options_.table.empty() && !has_quantizers && !pass_options_.is_part)
      return absl::InvalidArgumentError(
          "precision int8 without a calibration table, expected one beside the model, or a model with "
          "QuantizeLinear and DequantizeLinear nodes");
    RETURN_IF_ERROR(ReadPins());
    if (!options_.table.empty()) {
      RETURN_IF_ERROR(ReadTable(sha256));
      ASSIGN_OR_RETURN(pass_options_.range_method, ParseRangeMethod(options_.range_method));
      pass_options_.repairs = options_.repairs;
      pass_options_.repaired = &compiled_.info.repairs;
    }
    return ReadDecisions(sha256);
  }

  absl::Status ReadPins() {
    for (const auto& [pattern, pin] : options_.layers) {
      pass_options_.pins[pattern] = pin == Precision::kBf16 && !HasBf16() ? Precision::kFp32 : pin;
      if (pin == Precision::kBf16) NoteBf16();
    }
    return absl::OkStatus();
  }

  // What is decided before the rules: by whoever asks for the load, by `hachi tune`.
  absl::Status ReadDecisions(const std::string& sha256) {
    ASSIGN_OR_RETURN(const Decisions asked, Decisions::Parse(options_.decisions));
    for (const auto& [node, decision] : asked.by_node())
      if (!IsAdvice(decision.origin)) given_.Set(node, decision);
    TakeAdvice(asked, options_.layers, given_);
    if (!options_.tuned.empty() && !options_.table.empty()) {
      ASSIGN_OR_RETURN(const TunedDecisions tuned, TunedDecisions::ReadFor(options_.tuned, sha256));
      pass_options_.range_method = tuned.range;
      pass_options_.repairs = tuned.repairs;
      TakeAdvice(tuned.decisions, options_.layers, given_);
    }
    const Decisions advised = given_;
    for (auto [node, decision] : advised.by_node())
      if (decision.precision == Precision::kBf16 && IsAdvice(decision.origin) && !HasBf16()) {
        NoteBf16();
        decision.precision = Precision::kFp32;
        given_.Set(node, decision);
      }
    pass_options_.given = &given_;
    pass_options_.decided = &decided_;
    return absl::OkStatus();
  }

  // With a table, passes do. REQUIRES: passes have run.
  absl::Status CheckThatDecisionsWereTaken() const {
    if (pass_options_.is_part || pass_options_.table != nullptr) return absl::OkStatus();
    for (const auto& [node, given] : given_.by_node()) {
      const Decision* made = decided_.Find(node);
      if (made == nullptr)
        return absl::InvalidArgumentError(absl::StrCat(
            "decisions: '", node, "' matches no node, expected a product that could run in INT8"));
      if (made->precision != given.precision && !IsAdvice(given.origin))
        return absl::InvalidArgumentError(absl::StrCat("decisions: node '", node, "' cannot run in ",
                                                       std::string(NameOf(given.precision)), ", expected ",
                                                       std::string(NameOf(made->precision))));
    }
    return absl::OkStatus();
  }

  // Says it where BF16 is asked for and the CPU has none.
  void NoteBf16() {
    if (!HasBf16())
      compiled_.info.why_not_bf16 = "the CPU has no avx512_bf16: what is to run in bf16 runs in fp32";
  }

  absl::Status ReadTable(const std::string& sha256) {
    ASSIGN_OR_RETURN(auto read, ReadAnyTable(options_.table));
    if (auto* foreign = std::get_if<ForeignTable>(&read)) {
      foreign_ = std::move(*foreign);
      return absl::OkStatus();
    }
    table_ = std::get<CalibrationTable>(std::move(read));
    pass_options_.table = &*table_;
    return WithContext(table_->CheckBelongsTo(sha256), absl::StrCat("'", options_.table.string(), "'"));
  }

  // Finds the tensors of another tool's table in the graph.
  absl::Status AdoptForeign() {
    if (!foreign_) return absl::OkStatus();
    auto adopted = AdoptTable(*foreign_, compiled_.graph);
    if (!adopted.ok()) return WithContext(adopted.status(), absl::StrCat("'", options_.table.string(), "'"));
    table_ = std::move(adopted->table);
    pass_options_.table = &*table_;
    compiled_.info.table = std::move(adopted->report);
    return absl::OkStatus();
  }

  // From the graph as the file has it, and the options.
  void MakeSignature() {
    Signature& signature = compiled_.signature;
    signature.batched = compiled_.rows.has_value();
    for (const Value* input : compiled_.graph.inputs()) {
      const InputOptions& client = compiled_.inputs.emplace_back(OptionsOf(*input, options_.inputs));
      TensorSignature tensor =
          SignatureOf(input->name, *client.dtype, ToClient(RowDims(*input->dims, compiled_.rows), client));
      tensor.range = IndexRange(*input);
      signature.inputs.push_back(std::move(tensor));
    }
    for (const Graph::Output& output : compiled_.graph.outputs())
      signature.outputs.push_back(
          SignatureOf(output.name, output.value->dtype, RowDims(*output.value->dims, compiled_.rows)));
  }

  const LoadOptions& options_;
  std::optional<CalibrationTable> table_;
  std::optional<ForeignTable> foreign_;  // becomes table_ when the graph is prepared
  Decisions given_, decided_;
  PassOptions pass_options_;
  Compiled compiled_;
};

// Throws nothing, nor does the model.
absl::StatusOr<std::unique_ptr<Model>> CompileGuarded(const LoadOptions& options, ImportedModel imported,
                                                      std::shared_ptr<PackedWeights> packed) {
  ASSIGN_OR_RETURN(
      auto model, NoThrow([&] { return Compiler(options, std::move(packed)).Compile(std::move(imported)); }));
  return Guarded(std::move(model));
}

class ImportedSource final : public ModelSource {
 public:
  explicit ImportedSource(ImportedModel imported) : imported_(std::move(imported)) {}

  absl::StatusOr<std::unique_ptr<Model>> Compile(const LoadOptions& options) const override {
    return CompileGuarded(options, {imported_.graph.Clone(), imported_.sha256}, packed_);
  }

  const std::string& sha256() const override { return imported_.sha256; }
  int64_t packed_bytes() const override { return packed_->bytes(); }

 private:
  const ImportedModel imported_;
  const std::shared_ptr<PackedWeights> packed_ = std::make_shared<PackedWeights>();
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelSource>> ImportModel(const std::filesystem::path& model) {
  ASSIGN_OR_RETURN(ImportedModel imported, ImportOnnx(model, /*want_sha256=*/true, IsOp));
  return std::make_unique<ImportedSource>(std::move(imported));
}

absl::StatusOr<std::unique_ptr<Model>> LoadModel(const LoadOptions& options) {
  ASSIGN_OR_RETURN(ImportedModel imported,
                   ImportOnnx(options.model, /*want_sha256=*/!options.table.empty(), IsOp));
  return CompileGuarded(options, std::move(imported), /*packed=*/nullptr);
}

}  // namespace hachi
