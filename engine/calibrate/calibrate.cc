#include "engine/calibrate/calibrate.h"

#include <algorithm>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/calibrate/observed_graph.h"
#include "engine/onnx/import.h"
#include "engine/ops/op.h"
#include "engine/passes/infer_graph.h"
#include "engine/run/ends.h"
#include "engine/run/prepare.h"
#include "engine/run/stages.h"
#include "engine/samples/sample_set.h"

namespace hachi {
namespace {

// A graph that samples make known: their shapes, and what those inputs hold that decide.
class SampledGraph {
 public:
  using Inputs = std::map<std::string, InputOptions>;

  static absl::StatusOr<std::unique_ptr<SampledGraph>> Create(Graph imported, const Inputs& inputs,
                                                              CalibrationTable& table) {
    ASSIGN_OR_RETURN(std::set<size_t> deciding, DecidingInputs(imported));
    return std::unique_ptr<SampledGraph>(
        new SampledGraph(std::move(imported), std::move(deciding), inputs, table));
  }

  // Runs that part of the sample, in stages where it has to be; how many rows the sample has.
  absl::StatusOr<int64_t> Run(const Sample& sample, const RowPart& part) {
    ASSIGN_OR_RETURN(Known * known, Know(sample));
    if (known->second == nullptr) return known->graph->Run(sample, part);
    if (part.skip > 0) return 1;
    RowPart first = part;
    first.done = nullptr;
    RETURN_IF_ERROR(known->graph->Run(sample, first).status());
    ASSIGN_OR_RETURN(const std::vector<Tensor> outputs, known->graph->Outputs());
    Sample handed;
    for (size_t i = 0; i < known->handed.size(); ++i)
      handed.emplace(known->second->imported_.inputs()[i]->name, TakeHanded(known->handed[i], outputs));
    return known->second->Run(handed, part);
  }

 private:
  // What samples of the same shapes and deciding values share.
  struct Known {
    std::vector<Shape> shapes;
    std::vector<std::vector<std::byte>> values;
    std::unique_ptr<ObservedGraph> graph;
    std::unique_ptr<SampledGraph> second;  // what comes behind; null: nothing does
    std::vector<HandedValue> handed;
  };

  SampledGraph(Graph imported, std::set<size_t> deciding, const Inputs& inputs, CalibrationTable& table)
      : imported_(std::move(imported)), deciding_(std::move(deciding)), inputs_(inputs), table_(table) {}

  absl::StatusOr<Known*> Know(const Sample& sample) {
    constexpr size_t kMostKnown = 4;  // graphs hold packed weights. Guessed.
    ASSIGN_OR_RETURN(Known known, Describe(sample));
    for (Known& other : known_)
      if (other.shapes == known.shapes && other.values == known.values) return &other;
    const Graph graph = GraphFor(imported_, known.shapes, deciding_, known.values);
    auto prepared = PrepareGraph(graph, {});
    if (absl::IsUnimplemented(prepared.status())) {
      ASSIGN_OR_RETURN(Stages stages, SplitStages(graph));
      prepared = PrepareGraph(stages.first, {});
      ASSIGN_OR_RETURN(known.second, Create(std::move(stages.second), kAsTheModelTakesThem, table_));
      known.handed = std::move(stages.handed);
    }
    RETURN_IF_ERROR(prepared.status());
    ASSIGN_OR_RETURN(known.graph, ObservedGraph::Create(*std::move(prepared), inputs_, table_));
    if (known_.size() >= kMostKnown) known_.pop_back();
    return &known_.emplace_front(std::move(known));
  }

  // What the sample says of the graph.
  absl::StatusOr<Known> Describe(const Sample& sample) const {
    Known known;
    for (size_t i = 0; i < imported_.inputs().size(); ++i) {
      const Value& input = *imported_.inputs()[i];
      const auto tensor = sample.find(input.name);
      if (tensor == sample.end())
        return absl::InvalidArgumentError(absl::StrCat("has no input '", input.name, "', expected one"));
      const bool as_model_takes_it = tensor->second.dtype() == input.dtype;
      known.shapes.push_back(as_model_takes_it
                                 ? tensor->second.shape()
                                 : FromClient(tensor->second.shape(), OptionsOf(input, inputs_)));
      known.values.emplace_back();
      if (deciding_.contains(i) && !as_model_takes_it)
        return absl::InvalidArgumentError(absl::StrCat("input '", input.name, "' is ",
                                                       std::string(NameOf(tensor->second.dtype())),
                                                       ", expected ", std::string(NameOf(input.dtype))));
      if (deciding_.contains(i))
        known.values.back().assign(tensor->second.bytes().begin(), tensor->second.bytes().end());
    }
    return known;
  }

  static inline const Inputs kAsTheModelTakesThem;

  const Graph imported_;
  const std::set<size_t> deciding_;  // inputs whose values decide
  const Inputs& inputs_;
  CalibrationTable& table_;
  std::list<Known> known_;  // the last one in front
};

// Runs over the rows that are asked for, with `run`.
absl::Status RunSamples(const CalibrateOptions& options, const SampleSet& samples, CalibrationTable& table,
                        absl::FunctionRef<absl::StatusOr<int64_t>(const Sample&, const RowPart&)> run) {
  const auto done = [&] { return table.header().samples; };
  int64_t seen = 0;  // rows of the data, those that are passed over too
  for (size_t i = 0; i < samples.size() && done() < options.max_rows; ++i) {
    const std::string what = absl::StrCat("sample '", samples.PathOf(i).string(), "'");
    ASSIGN_OR_RETURN(const Sample sample, samples.Read(i));
    RowPart part{.skip = options.first_row - seen, .most = options.max_rows - done(), .stop = options.stop};
    part.done = [&](int64_t rows) {
      table.AddSamples(rows);
      if (options.progress) options.progress({i + 1, samples.size(), done()});
    };
    const auto rows = run(sample, part);
    if (!rows.ok()) return WithContext(rows.status(), what);
    seen += *rows;
  }
  if (done() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("samples '", options.data.string(), "': ", seen,
                                                 " rows, expected more than the ", options.first_row,
                                                 " that are passed over"));
}

}  // namespace

absl::StatusOr<Calibration> CalibrateUntil(const CalibrateOptions& options) {
  ASSIGN_OR_RETURN(ImportedModel imported, ImportOnnx(options.model, /*want_sha256=*/true, IsOp));
  RETURN_IF_ERROR(CheckInputs(imported.graph, options.inputs));
  Calibration calibration{.table = CalibrationTable({.model_sha256 = imported.sha256,
                                                     .data_tag = options.data_tag,
                                                     .samples = 0,
                                                     .tool_version = options.tool_version}),
                          .status = {}};
  std::vector<std::string> names;
  for (const Value* input : imported.graph.inputs()) names.push_back(input->name);
  auto prepared = PrepareGraph(imported.graph, {});
  std::unique_ptr<ObservedGraph> whole;  // null: each sample says what the graph is
  std::unique_ptr<SampledGraph> sampled;
  if (prepared.ok()) {
    ASSIGN_OR_RETURN(whole, ObservedGraph::Create(*std::move(prepared), options.inputs, calibration.table));
  } else {
    ASSIGN_OR_RETURN(sampled,
                     SampledGraph::Create(std::move(imported.graph), options.inputs, calibration.table));
  }
  ASSIGN_OR_RETURN(const SampleSet samples, SampleSet::Open(options.data, names));
  calibration.status =
      RunSamples(options, samples, calibration.table, [&](const Sample& sample, const RowPart& part) {
        return whole != nullptr ? whole->Run(sample, part) : sampled->Run(sample, part);
      });
  return calibration;
}

absl::StatusOr<CalibrationTable> Calibrate(const CalibrateOptions& options) {
  ASSIGN_OR_RETURN(Calibration calibration, CalibrateUntil(options));
  RETURN_IF_ERROR(calibration.status);
  return std::move(calibration.table);
}

}  // namespace hachi
