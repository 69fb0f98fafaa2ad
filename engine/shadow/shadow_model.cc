#include "engine/shadow/shadow_model.h"

#include <optional>
#include <set>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/base/no_throw.h"
#include "engine/base/status_macros.h"
#include "engine/calibrate/observed_graph.h"
#include "engine/onnx/import.h"
#include "engine/ops/op.h"
#include "engine/quant/drift.h"
#include "engine/quant/foreign_table.h"
#include "engine/run/ends.h"
#include "engine/run/prepare.h"

namespace hachi {
namespace {

// Enough for a steady index of drift over an input's elements, few enough to notice a change. Guessed.
constexpr int64_t kWindowRows = 256;

class ObservedShadow final : public ShadowModel {
 public:
  static absl::StatusOr<std::unique_ptr<ShadowModel>> Create(const LoadOptions& options) {
    ASSIGN_OR_RETURN(ImportedModel imported, ImportOnnx(options.model, /*want_sha256=*/true, IsOp));
    RETURN_IF_ERROR(CheckInputs(imported.graph, options.inputs));
    auto prepared = PrepareGraph(imported.graph, {});
    if (!prepared.ok())
      return absl::UnimplementedError(absl::StrCat("shadow: only requests make the model known (",
                                                   prepared.status().message(),
                                                   "), expected one that is known when it loads"));
    std::unique_ptr<ObservedShadow> made(new ObservedShadow(options, std::move(imported.sha256)));
    for (const Value* input : prepared->graph.inputs()) made->inputs_.insert(input->name);
    ASSIGN_OR_RETURN(made->graph_, ObservedGraph::Create(*std::move(prepared), made->options_.inputs,
                                                         made->now_, SampleForms::kClient));
    RETURN_IF_ERROR(made->ReadTable());
    return made;
  }

  absl::StatusOr<std::vector<Tensor>> Run(const std::map<std::string, Tensor>& row) override {
    return NoThrow([&]() -> absl::StatusOr<std::vector<Tensor>> {
      RETURN_IF_ERROR(graph_->Run(row, {}).status());
      ASSIGN_OR_RETURN(std::vector<Tensor> outputs, graph_->Outputs());
      now_.AddSamples(1);
      if (now_.header().samples == kWindowRows) last_ = std::exchange(now_, CalibrationTable(header_));
      return outputs;
    });
  }

  std::map<std::string, TensorUse> Uses(const std::map<std::string, TensorRange>& ranges) const override {
    std::map<std::string, TensorUse> uses;
    for (const auto& [name, range] : ranges) {
      const TensorStats seen = Remembered(name);
      if (seen.count() == seen.nonfinite()) continue;
      const RangeUse use = UseOfRange(seen, range.low, range.high);
      uses[name] = {.clipped = use.clipped, .used = use.used};
    }
    return uses;
  }

  std::map<std::string, double> Drifts() const override {
    std::map<std::string, double> drifts;
    for (const std::string& name : inputs_)
      if (const CalibrationTable::Entry* line = table_ ? table_->Line(name) : nullptr; line != nullptr)
        drifts[name] = PopulationStability(line->stats.histogram(), Remembered(name).histogram());
    return drifts;
  }

 private:
  ObservedShadow(const LoadOptions& options, std::string sha256)
      : options_(options), header_({.model_sha256 = std::move(sha256)}), now_(header_), last_(header_) {}

  // Drift is told against a table of ours alone: others have no histograms.
  absl::Status ReadTable() {
    if (options_.table.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(auto read, ReadAnyTable(options_.table));
    if (auto* table = std::get_if<CalibrationTable>(&read)) table_ = std::move(*table);
    return absl::OkStatus();
  }

  TensorStats Remembered(const std::string& name) const {
    TensorStats seen;
    for (const CalibrationTable* window : {&last_, &now_})
      if (const CalibrationTable::Entry* line = window->Line(name); line != nullptr) seen.Merge(line->stats);
    return seen;
  }

  const LoadOptions options_;
  const CalibrationTable::Header header_;
  CalibrationTable now_, last_;  // what the rows of this window held, and those of the one before
  std::optional<CalibrationTable> table_;
  std::set<std::string, std::less<>> inputs_;
  std::unique_ptr<ObservedGraph> graph_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ShadowModel>> LoadShadow(const LoadOptions& options) {
  return NoThrow([&] { return ObservedShadow::Create(options); });
}

}  // namespace hachi
