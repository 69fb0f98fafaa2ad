#include "engine/plan/ends.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi {

std::optional<Dim> RowsSymbol(const Graph& graph) {
  std::optional<Dim> rows;
  for (const Value* input : graph.inputs())
    if (!input->dims->empty() && !input->dims->front().constant()) rows = input->dims->front();
  return rows;
}

Bindings BindRows(const std::optional<Dim>& rows, int64_t count) {
  if (!rows) return {};
  return {{rows->ToText(), count}};
}

absl::StatusOr<Shape> RowShape(const std::string& what, const SymbolicShape& dims,
                               const std::optional<Dim>& rows) {
  SymbolicShape rest = dims;
  if (rows) {
    if (dims.empty() || dims.front() != *rows)
      return absl::UnimplementedError(absl::StrCat(what, " has shape ", ShapeText(dims), ", expected ",
                                                   rows->ToText(), " rows in its first dimension"));
    rest.erase(rest.begin());
  }
  auto shape = ConstantShape(rest);
  if (!shape)
    return absl::UnimplementedError(absl::StrCat(what, " has shape ", ShapeText(dims),
                                                 ", expected numbers in all dimensions but the first"));
  return *std::move(shape);
}

absl::Status CheckInputNames(const Graph& graph, const std::map<std::string, InputOptions>& inputs) {
  for (const auto& [name, input] : inputs)
    if (std::ranges::none_of(graph.inputs(), [&, &n = name](const Value* v) { return v->name == n; }))
      return absl::InvalidArgumentError(
          absl::StrCat("inputs: '", name, "', expected the name of an input of the model"));
  return absl::OkStatus();
}

Shape ClientRowShape(Shape row_shape, const InputOptions& client) {
  if (client.channels_last && row_shape.size() > 1)
    std::rotate(row_shape.begin(), row_shape.begin() + 1, row_shape.end());
  return row_shape;
}

Layout LayoutOfRows(const Value& value, bool batched) {
  if (batched) return value.layout;
  std::vector<int> order = {0};
  for (const int axis : value.layout.Order(value.rank())) order.push_back(axis + 1);
  return Layout::FromOrder(std::move(order));
}

absl::StatusOr<Gather> MakeGather(const Value& input, const Shape& row_shape, const InputOptions& client,
                                  bool batched) {
  auto gather = Gather::Create({.client_dtype = client.dtype,
                                .client_channels_last = client.channels_last,
                                .row_shape = row_shape,
                                .mean = client.mean,
                                .scale = client.scale,
                                .dtype = input.dtype,
                                .quant = input.quant,
                                .layout = LayoutOfRows(input, batched)});
  if (!gather.ok()) return WithContext(gather.status(), absl::StrCat("input '", input.name, "'"));
  return gather;
}

}  // namespace hachi
