#include "engine/run/ends.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace hachi {

TensorSignature SignatureOf(std::string name, DType dtype, const SymbolicShape& dims) {
  TensorSignature tensor{.name = std::move(name), .dtype = dtype};
  for (const Dim& dim : dims) tensor.dims.push_back(dim.constant().value_or(-1));
  if (!ConstantShape(dims))
    for (const Dim& dim : dims) tensor.symbols.push_back(dim.constant() ? "" : dim.ToText());
  return tensor;
}

SymbolicShape RowDims(const SymbolicShape& dims, const std::optional<Dim>& rows) {
  return SymbolicShape(dims.begin() + (rows ? 1 : 0), dims.end());
}

absl::Status CheckInputs(const Graph& graph, const std::map<std::string, InputOptions>& inputs) {
  for (const auto& [name, options] : inputs) {
    const auto input = std::ranges::find(graph.inputs(), name, &Value::name);
    if (input == graph.inputs().end())
      return absl::InvalidArgumentError(
          absl::StrCat("inputs: '", name, "', expected the name of an input of the model"));
    const bool converts =
        options.dtype || options.channels_last || !options.mean.empty() || !options.scale.empty();
    if (converts && (*input)->dtype != DType::kF32)
      return absl::InvalidArgumentError(
          absl::StrCat("input '", name, "' has type ", std::string(NameOf((*input)->dtype)),
                       ", expected f32 where dtype, layout, mean or scale are configured"));
    for (const auto& [symbol, dim] : options.dims)
      if (std::ranges::count(*(*input)->dims, Dim::Symbol(symbol)) == 0)
        return absl::InvalidArgumentError(absl::StrCat("input '", name, "' has no free dimension '", symbol,
                                                       "', expected one of ", ShapeText(*(*input)->dims)));
  }
  return absl::OkStatus();
}

InputOptions OptionsOf(const Value& input, const std::map<std::string, InputOptions>& inputs) {
  const auto own = inputs.find(input.name);
  InputOptions options = own == inputs.end() ? InputOptions() : own->second;
  if (!options.dtype) options.dtype = input.dtype;
  return options;
}

absl::Status MatchDims(const SymbolicShape& dims, std::span<const int64_t> shape, Bindings& bindings) {
  const auto unexpected = [&](size_t i, const std::string& expected) {
    return absl::InvalidArgumentError(absl::StrCat("shape is ", ShapeText(shape), ", expected ", expected,
                                                   " in dimension ", i, " of ", ShapeText(dims)));
  };
  if (shape.size() != dims.size())
    return absl::InvalidArgumentError(absl::StrCat("shape has ", shape.size(), " dimensions, expected ",
                                                   dims.size(), ": ", ShapeText(dims)));
  for (size_t i = 0; i < dims.size(); ++i) {
    if (const auto number = dims[i].constant()) {
      if (shape[i] != *number) return unexpected(i, absl::StrCat(*number));
      continue;
    }
    if (shape[i] < 1) return unexpected(i, "at least 1");
    const auto [known, is_new] = bindings.try_emplace(dims[i].ToText(), shape[i]);
    if (!is_new && known->second != shape[i])
      return unexpected(i, absl::StrCat(known->second, ", as ", known->first, " is elsewhere,"));
  }
  return absl::OkStatus();
}

Layout LayoutOfRows(const Value& value, bool batched) {
  if (batched) return value.layout;
  std::vector<int> order = {0};
  for (const int axis : value.layout.Order(value.rank())) order.push_back(axis + 1);
  return Layout::FromOrder(std::move(order));
}

absl::StatusOr<Intake> MakeIntake(const Value& input, const Shape& row_shape, const InputOptions& client,
                                  bool batched) {
  auto intake = Intake::Create({.client_dtype = *client.dtype,
                                .client_channels_last = client.channels_last,
                                .row_shape = row_shape,
                                .mean = client.mean,
                                .scale = client.scale,
                                .dtype = input.dtype,
                                .quant = input.quant,
                                .layout = LayoutOfRows(input, batched)});
  if (!intake.ok()) return WithContext(intake.status(), absl::StrCat("input '", input.name, "'"));
  return intake;
}

}  // namespace hachi
