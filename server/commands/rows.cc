#include "server/commands/rows.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status_macros.h"
#include "engine/samples/tensor_file.h"

namespace hachi::server {
namespace {

std::string NamesOf(const std::vector<TensorDescription>& tensors) {
  return absl::StrJoin(tensors, ", ", [](std::string* out, const TensorDescription& tensor) {
    absl::StrAppend(out, "'", tensor.name, "'");
  });
}

absl::StatusOr<TensorRows> ReadRows(const std::filesystem::path& file, const TensorDescription& description,
                                    bool batched) {
  auto tensor = ReadTensorFile(file);
  if (tensor.ok()) {
    auto rows = TensorRows::Of(*std::move(tensor), description, batched);
    if (rows.ok()) return rows;
    return WithContext(rows.status(), file.string());
  }
  return tensor.status();
}

absl::Status CheckNames(const std::map<std::string, std::filesystem::path>& files,
                        const std::vector<TensorDescription>& tensors, const char* kind) {
  for (const auto& [name, file] : files) {
    const auto is_it = [&](const TensorDescription& tensor) { return tensor.name == name; };
    if (std::none_of(tensors.begin(), tensors.end(), is_it))
      return absl::InvalidArgumentError(
          absl::StrCat(kind, " '", name, "': unknown, expected ", NamesOf(tensors)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::map<std::string, std::filesystem::path>> ParseNamedFiles(
    const std::vector<std::string>& arguments) {
  std::map<std::string, std::filesystem::path> files;
  for (const std::string& argument : arguments) {
    const size_t equals = argument.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == argument.size())
      return absl::InvalidArgumentError(absl::StrCat("argument: is '", argument, "', expected NAME=FILE"));
    const std::string name = argument.substr(0, equals);
    if (!files.emplace(name, argument.substr(equals + 1)).second)
      return absl::InvalidArgumentError(absl::StrCat("argument: '", name, "' is given twice, expected once"));
  }
  return files;
}

TensorRows::TensorRows(const TensorDescription& description, bool batched)
    : name_(description.name), row_shape_(description.shape), batched_(batched) {
  if (batched && !row_shape_.empty()) row_shape_.erase(row_shape_.begin());
}

absl::StatusOr<TensorRows> TensorRows::Of(Tensor tensor, const TensorDescription& description, bool batched) {
  TensorRows rows(description, batched);
  const std::string subject = absl::StrCat("'", description.name, "'");
  if (tensor.dtype() != description.dtype)
    return absl::InvalidArgumentError(absl::StrCat(subject, ": datatype is ",
                                                   std::string(NameOf(tensor.dtype())), ", expected ",
                                                   std::string(NameOf(description.dtype))));
  const Shape& shape = tensor.shape();
  const auto is_row_shape = [&](std::span<const int64_t> dims) {
    return std::ranges::equal(dims, rows.row_shape_, [](int64_t found, int64_t size) {
      return size < 0 ? found > 0 : found == size;
    });
  };
  if (is_row_shape(shape)) {
    rows.rows_ = 1;
    rows.row_shape_ = shape;
  } else if (!shape.empty() && shape[0] > 0 && is_row_shape(std::span(shape).subspan(1))) {
    rows.rows_ = shape[0];
    rows.row_shape_.assign(shape.begin() + 1, shape.end());
  } else {
    return absl::InvalidArgumentError(absl::StrCat(subject, ": shape is ", ShapeText(shape), ", expected ",
                                                   ShapeText(rows.row_shape_), " or rows of that"));
  }
  rows.values_ = std::move(tensor);
  return rows;
}

TensorRows TensorRows::Random(const TensorDescription& description, bool batched, int64_t rows) {
  TensorRows made(description, batched);
  made.rows_ = rows;
  Shape shape = made.row_shape_;
  shape.insert(shape.begin(), rows);
  made.values_ = Tensor(description.dtype, shape);
  std::mt19937 random(1);
  VisitDType(description.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (T& value : made.values_.As<T>()) {
      if constexpr (std::is_floating_point_v<T>)
        value = static_cast<T>(random() % 1024) / 1024;
      else
        value = static_cast<T>(random() % (sizeof(T) == 1 && std::is_signed_v<T> ? 128 : 256));
    }
  });
  return made;
}

std::string TensorRows::Bytes(int64_t first, int64_t count) const {
  const auto* data = reinterpret_cast<const char*>(values_.bytes().data());
  const size_t row_bytes = values_.bytes().size() / static_cast<size_t>(rows_);
  std::string bytes;
  bytes.reserve(static_cast<size_t>(count) * row_bytes);
  for (int64_t i = 0; i < count; ++i)
    bytes.append(data + static_cast<size_t>((first + i) % rows_) * row_bytes, row_bytes);
  return bytes;
}

InferInput TensorRows::Input(const std::string& bytes, int64_t count) const {
  Shape shape = row_shape_;
  if (batched_) shape.insert(shape.begin(), count);
  return {name_, values_.dtype(), std::move(shape), std::as_bytes(std::span(bytes))};
}

absl::StatusOr<std::vector<TensorRows>> ReadInputs(const std::map<std::string, std::filesystem::path>& files,
                                                   const ModelDescription& model) {
  RETURN_IF_ERROR(CheckNames(files, model.inputs, "input"));
  std::vector<TensorRows> inputs;
  for (const TensorDescription& description : model.inputs) {
    const auto file = files.find(description.name);
    if (file == files.end())
      return absl::InvalidArgumentError(
          absl::StrCat("input '", description.name, "': is missing, expected ", NamesOf(model.inputs)));
    ASSIGN_OR_RETURN(TensorRows rows, ReadRows(file->second, description, model.max_batch_rows > 0));
    if (!inputs.empty() && rows.rows() != inputs.front().rows())
      return absl::InvalidArgumentError(absl::StrCat("input '", rows.name(), "': has ", rows.rows(),
                                                     " rows, expected ", inputs.front().rows(),
                                                     " as in the inputs before it"));
    inputs.push_back(std::move(rows));
  }
  return inputs;
}

absl::StatusOr<std::vector<TensorRows>> ReadOutputs(const std::map<std::string, std::filesystem::path>& files,
                                                    const ModelDescription& model, int64_t rows) {
  RETURN_IF_ERROR(CheckNames(files, model.outputs, "output"));
  std::vector<TensorRows> outputs;
  for (const TensorDescription& description : model.outputs) {
    const auto file = files.find(description.name);
    if (file == files.end()) continue;
    ASSIGN_OR_RETURN(TensorRows values, ReadRows(file->second, description, model.max_batch_rows > 0));
    if (values.rows() != rows)
      return absl::InvalidArgumentError(absl::StrCat("output '", description.name, "': has ", values.rows(),
                                                     " rows, expected ", rows, ", one a row of the inputs"));
    outputs.push_back(std::move(values));
  }
  return outputs;
}

}  // namespace hachi::server
