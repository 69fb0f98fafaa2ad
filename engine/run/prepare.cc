#include "engine/run/prepare.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/passes/row_independence.h"

namespace hachi {
namespace {

// The symbols of inputs' first dimensions, by text.
std::set<std::string> BatchSymbols(const Graph& graph) {
  std::set<std::string> symbols;
  for (const Value* input : graph.inputs())
    if (!input->dims->empty() && !input->dims->front().constant())
      symbols.insert(input->dims->front().ToText());
  return symbols;
}

// Each input has a batch of one.
void BindBatchToOne(Graph& graph) {
  const std::set<std::string> symbols = BatchSymbols(graph);
  for (Value* input : graph.inputs())
    for (Dim& dim : *input->dims)
      if (symbols.contains(dim.ToText())) dim = 1;
}

}  // namespace

absl::StatusOr<PreparedGraph> PrepareGraph(const Graph& imported, const PassOptions& options) {
  const std::set<std::string> symbols = BatchSymbols(imported);
  PreparedGraph whole{
      .graph = imported.Clone(), .rows = std::nullopt, .why_whole = "its batch is fixed in the file"};
  if (symbols.empty()) {
    RETURN_IF_ERROR(RunPasses(whole.graph, PreparePasses(), options));
    return whole;
  }

  PreparedGraph shared{.graph = imported.Clone(), .rows = std::nullopt, .why_whole = {}};
  ShareRowsSymbol(shared.graph);
  const absl::Status prepared = RunPasses(shared.graph, PreparePasses(), options);
  if (prepared.ok()) {
    const Dim rows = Dim::Symbol(*BatchSymbols(shared.graph).begin());
    const auto proof = ProveRowsIndependent(shared.graph, rows);
    if (proof.ok()) {
      shared.rows = rows;
      return shared;
    }
    shared.why_whole = std::string(proof.status().message());
    if (symbols.size() == 1) return shared;
  }
  // Batches that are named differently may differ.
  whole.why_whole = shared.why_whole;
  if (symbols.size() > 1 && RunPasses(whole.graph, PreparePasses(), options).ok()) return whole;
  if (prepared.ok()) return shared;

  PreparedGraph one{
      .graph = imported.Clone(), .rows = std::nullopt, .why_whole = "it is made for a batch of 1"};
  BindBatchToOne(one.graph);
  if (!RunPasses(one.graph, PreparePasses(), options).ok()) return prepared;
  return one;
}

Graph GraphFor(const Graph& imported, std::span<const Shape> shapes, const std::set<size_t>& deciding,
               std::span<const std::vector<std::byte>> values) {
  Graph graph = imported.Clone();
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    Value* input = graph.inputs()[i];
    input->dims = SymbolicShape(shapes[i].begin(), shapes[i].end());
    if (!deciding.contains(i)) continue;
    auto tensor = std::make_shared<Tensor>(input->dtype, shapes[i]);
    std::ranges::copy(values[i], tensor->bytes().begin());
    Value* constant =
        graph.AddConstant(graph.UniqueValueName(absl::StrCat(input->name, "_given")), std::move(tensor));
    graph.ReplaceUses(input, constant);
  }
  return graph;
}

}  // namespace hachi
