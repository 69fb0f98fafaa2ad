#include "server/commands/shapes.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/status_macros.h"
#include "engine/tensor/shape.h"

namespace hachi::server {

absl::StatusOr<std::map<std::string, std::vector<int64_t>>> ParseShapes(
    std::span<const std::string> arguments) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const std::string& argument : arguments) {
    const auto invalid = [&] {
      return absl::InvalidArgumentError(absl::StrCat(
          "--shape: '", argument, "', expected each input once, as NAME=1,3,640,480 with sizes from 1"));
    };
    const size_t equals = argument.rfind('=');
    if (equals == std::string::npos || equals == 0) return invalid();
    const auto [entry, is_new] = shapes.try_emplace(argument.substr(0, equals));
    if (!is_new) return invalid();
    for (const auto& text : absl::StrSplit(argument.substr(equals + 1), ',')) {
      int64_t size = 0;
      if (!absl::SimpleAtoi(text, &size) || size < 1) return invalid();
      entry->second.push_back(size);
    }
  }
  return shapes;
}

absl::Status SetShapes(std::span<const std::string> arguments, ModelDescription& model) {
  ASSIGN_OR_RETURN(const auto shapes, ParseShapes(arguments));
  for (const auto& [name, shape] : shapes) {
    const auto input = std::ranges::find(model.inputs, name, &TensorDescription::name);
    if (input == model.inputs.end())
      return absl::InvalidArgumentError(absl::StrCat("--shape: '", name, "', expected the name of an input"));
    const auto fits = [](int64_t size, int64_t found) { return found < 0 || found == size; };
    if (!std::ranges::equal(shape, input->shape, fits))
      return absl::InvalidArgumentError(absl::StrCat("--shape: ", name, "=", ShapeText(shape), ", expected ",
                                                     ShapeText(input->shape), " with sizes for -1"));
    input->shape = shape;
  }
  return absl::OkStatus();
}

absl::Status CheckShapesAreSet(const ModelDescription& model) {
  for (const TensorDescription& input : model.inputs) {
    const size_t batch = model.max_batch_rows > 0 ? 1 : 0;
    if (std::ranges::count(std::span(input.shape).subspan(batch), -1) > 0)
      return absl::InvalidArgumentError(absl::StrCat("input '", input.name, "' has free dimensions, ",
                                                     ShapeText(input.shape),
                                                     ", expected --shape or --input"));
  }
  return absl::OkStatus();
}

}  // namespace hachi::server
