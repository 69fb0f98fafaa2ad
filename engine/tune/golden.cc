#include "engine/tune/golden.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/samples/tensor_file.h"

namespace hachi {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxLabelBytes = size_t{64} << 20;

absl::StatusOr<std::vector<int64_t>> LabelsOfText(const fs::path& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxLabelBytes));
  std::vector<int64_t> labels;
  const std::vector<std::string> lines = absl::StrSplit(absl::StripSuffix(text, "\n"), '\n');
  for (const std::string& line : lines)
    if (!absl::SimpleAtoi(line, &labels.emplace_back()))
      return absl::InvalidArgumentError(absl::StrCat("labels '", file.string(), "': line ", labels.size(),
                                                     " is '", line, "', expected the number of a class"));
  return labels;
}

absl::StatusOr<std::vector<int64_t>> LabelsOfArray(const fs::path& file) {
  ASSIGN_OR_RETURN(const Tensor tensor, ReadTensorFile(file));
  std::vector<int64_t> labels;
  const bool visited = VisitDType(tensor.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_integral_v<T>)
      for (const T label : tensor.As<T>()) labels.push_back(static_cast<int64_t>(label));
  });
  if (visited && static_cast<int64_t>(labels.size()) == tensor.count()) return labels;
  return absl::InvalidArgumentError(absl::StrCat("labels '", file.string(), "' are ",
                                                 std::string(NameOf(tensor.dtype())), ", expected integers"));
}

// The labels in the folder of samples, or nothing.
fs::path LabelsBeside(const fs::path& samples) {
  std::error_code error;
  for (const char* name : {"labels.txt", "labels.npy"})
    if (fs::is_regular_file(samples / name, error)) return samples / name;
  return {};
}

bool Fits(std::span<const int64_t> shape, const std::vector<int64_t>& dims) {
  return std::ranges::equal(shape, dims,
                            [](int64_t found, int64_t dim) { return dim < 0 ? found > 0 : found == dim; });
}

// The rows of one tensor as an input takes them: their shape, and how many there are.
struct FittedInput {
  Shape row_shape;
  int64_t rows = 1;
  std::span<const std::byte> bytes;
};

absl::StatusOr<FittedInput> Fit(const Tensor& tensor, const TensorSignature& input, bool batched) {
  const Shape& shape = tensor.shape();
  if (tensor.dtype() == input.dtype) {
    if (Fits(shape, input.dims)) return FittedInput{shape, 1, tensor.bytes()};
    if (batched && !shape.empty() && shape[0] > 0 && Fits(std::span(shape).subspan(1), input.dims))
      return FittedInput{Shape(shape.begin() + 1, shape.end()), shape[0], tensor.bytes()};
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "input '", input.name, "' is ", std::string(NameOf(tensor.dtype())), ShapeText(shape), ", expected ",
      std::string(NameOf(input.dtype)), input.DimsText(), batched ? " or rows of it" : ""));
}

absl::StatusOr<std::vector<FittedInput>> FitSample(const Sample& sample, const Signature& signature) {
  std::vector<FittedInput> fitted;
  for (const TensorSignature& input : signature.inputs) {
    const auto tensor = sample.find(input.name);
    if (tensor == sample.end())
      return absl::InvalidArgumentError(absl::StrCat("has no input '", input.name, "', expected one"));
    ASSIGN_OR_RETURN(fitted.emplace_back(), Fit(tensor->second, input, signature.batched));
    if (fitted.back().rows != fitted.front().rows)
      return absl::InvalidArgumentError(absl::StrCat("input '", input.name, "' has ", fitted.back().rows,
                                                     " rows, expected ", fitted.front().rows,
                                                     " as the others have"));
  }
  return fitted;
}

}  // namespace

absl::StatusOr<GoldenSet> GoldenSet::Read(const fs::path& samples, fs::path labels,
                                          const std::vector<std::string>& inputs, int64_t max_rows) {
  GoldenSet set;
  set.max_rows_ = max_rows;
  ASSIGN_OR_RETURN(const SampleSet files, SampleSet::Open(samples, inputs));
  // A sample holds a row at least, so that more of them are not needed.
  for (size_t i = 0; i < files.size() && static_cast<int64_t>(i) < max_rows; ++i) {
    auto sample = files.Read(i);
    if (!sample.ok()) return sample.status();
    set.samples_.push_back({files.PathOf(i).string(), *std::move(sample)});
  }
  if (labels.empty()) labels = LabelsBeside(samples);
  if (!labels.empty()) {
    ASSIGN_OR_RETURN(set.labels_,
                     labels.extension() == ".npy" ? LabelsOfArray(labels) : LabelsOfText(labels));
    if (static_cast<int64_t>(set.labels_.size()) > max_rows)
      set.labels_.resize(static_cast<size_t>(max_rows));
  }
  return set;
}

absl::StatusOr<std::vector<GoldenRow>> GoldenSet::RowsFor(const Signature& signature) const {
  std::vector<GoldenRow> rows;
  for (const auto& [path, sample] : samples_) {
    const auto fitted = FitSample(sample, signature);
    if (!fitted.ok()) return WithContext(fitted.status(), absl::StrCat("sample '", path, "'"));
    const int64_t count = fitted->empty() ? 1 : fitted->front().rows;
    for (int64_t row = 0; row < count && static_cast<int64_t>(rows.size()) < max_rows_; ++row) {
      GoldenRow& made = rows.emplace_back();
      for (const FittedInput& input : *fitted) {
        const size_t bytes = input.bytes.size() / static_cast<size_t>(input.rows);
        made.shapes.push_back(input.row_shape);
        made.inputs.push_back(input.bytes.subspan(static_cast<size_t>(row) * bytes, bytes));
      }
    }
  }
  return rows;
}

absl::StatusOr<std::vector<fs::path>> GoldenFiles(const fs::path& samples) {
  std::error_code error;
  if (!fs::is_directory(samples, error)) return std::vector{samples};
  return FilesBeneath(samples);
}

}  // namespace hachi
