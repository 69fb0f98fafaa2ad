#include "server/rpc/validate.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status_macros.h"
#include "engine/tensor/shape.h"
#include "proto/datatype.h"
#include "server/rpc/typed_contents.h"

namespace hachi::server {
namespace {

using inference::InferParameter;
using Parameters = google::protobuf::Map<std::string, InferParameter>;
using InputTensor = inference::ModelInferRequest::InferInputTensor;

// What the chunks of a request point at.
struct Bytes {
  std::shared_ptr<const std::vector<grpc::Slice>> raw;
  std::vector<std::vector<std::byte>> typed;
};

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

std::string NamesOf(const std::vector<TensorSignature>& tensors) {
  return absl::StrJoin(tensors, ", ", [](std::string* out, const TensorSignature& tensor) {
    absl::StrAppend(out, "'", tensor.name, "'");
  });
}

std::optional<size_t> IndexOf(const std::vector<TensorSignature>& tensors, const std::string& name) {
  for (size_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].name == name) return i;
  return std::nullopt;
}

// A number that is not negative, as clients send it: signed or unsigned.
absl::StatusOr<uint64_t> NonNegative(const std::string& name, const InferParameter& parameter) {
  if (parameter.has_uint64_param()) return parameter.uint64_param();
  if (parameter.has_int64_param() && parameter.int64_param() >= 0)
    return static_cast<uint64_t>(parameter.int64_param());
  return Invalid("parameter '", name, "': is ", parameter.ShortDebugString(),
                 ", expected an integer of 0 or more");
}

// Parameters that nobody here reads are allowed, as in the protocol: clients add their own.
absl::StatusOr<InferParameters> ReadParameters(const Parameters& parameters) {
  InferParameters result;
  for (const auto& [name, value] : parameters) {
    if (name == "priority") {
      RETURN_IF_ERROR(NonNegative(name, value).status());
    } else if (name == "timeout") {
      ASSIGN_OR_RETURN(const uint64_t microseconds, NonNegative(name, value));
      // What does not fit in a signed number is as good as no timeout.
      if (microseconds > 0 && std::in_range<int64_t>(microseconds))
        result.timeout = absl::Microseconds(static_cast<int64_t>(microseconds));
    } else if (name.starts_with("sequence_")) {
      return absl::UnimplementedError(
          absl::StrCat("parameter '", name, "': requests are independent here, sequences are not offered"));
    }
  }
  return result;
}

absl::Status RefuseExtensions(const std::string& tensor, const Parameters& parameters) {
  for (const auto& [name, value] : parameters) {
    if (name.starts_with("shared_memory_"))
      return absl::UnimplementedError(absl::StrCat(
          tensor, ": parameter '", name, "' is given, but shared memory is not offered; send the bytes"));
    if (name == "classification")
      return absl::UnimplementedError(absl::StrCat(
          tensor,
          ": parameter 'classification' is given, but classification is not offered; read the scores"));
  }
  return absl::OkStatus();
}

std::string ExpectedShape(const TensorSignature& tensor, bool batched) {
  std::string text = tensor.DimsText();
  if (batched) text.replace(0, 1, tensor.dims.empty() ? "[batch" : "[batch,");
  return text;
}

// Datatype and shape of one input; returns its rows. Free dimensions are the engine's to check.
absl::StatusOr<int64_t> CheckInput(const InputTensor& input, const TensorSignature& expected, bool batched,
                                   int64_t max_batch_rows) {
  const std::string subject = absl::StrCat("input '", expected.name, "'");
  const std::string datatype(WireName(expected.dtype));
  if (input.datatype() != datatype)
    return Invalid(subject, ": datatype is '", input.datatype(), "', expected '", datatype, "'");

  const std::span<const int64_t> shape(input.shape().data(), static_cast<size_t>(input.shape_size()));
  const size_t rank = expected.dims.size() + (batched ? 1 : 0);
  if (shape.size() != rank)
    return Invalid(subject, ": shape has ", shape.size(), " dimensions, expected ", rank, ": ",
                   ExpectedShape(expected, batched));
  const auto fits = [](int64_t found, int64_t size) { return size < 0 ? found > 0 : found == size; };
  if (!std::ranges::equal(shape.last(expected.dims.size()), expected.dims, fits))
    return Invalid(subject, ": shape is ", ShapeText(shape), ", expected ", ExpectedShape(expected, batched));
  if (batched && (shape[0] < 1 || shape[0] > max_batch_rows))
    return Invalid(subject, ": batch is ", shape[0], ", expected 1 to ", max_batch_rows);
  RETURN_IF_ERROR(WithContext(CheckedCount(shape, SizeOf(expected.dtype)).status(), subject));
  return batched ? shape[0] : 1;
}

absl::Status CheckRawAgainstTyped(const WireInfer& wire) {
  if (wire.raw.empty()) return absl::OkStatus();
  for (int i = 0; i < wire.head.inputs_size(); ++i)
    if (wire.contents[static_cast<size_t>(i)])
      return Invalid("input '", wire.head.inputs(i).name(),
                     "': has contents beside raw_input_contents, expected one of the two");
  if (wire.raw.size() != static_cast<size_t>(wire.head.inputs_size()))
    return Invalid("raw_input_contents has ", wire.raw.size(), " entries, expected ", wire.head.inputs_size(),
                   ", one an input");
  return absl::OkStatus();
}

// Elements that lie in chunks, split anywhere, against a range.
template <typename T>
absl::Status CheckRange(const Chunks& chunks, const IntegerRange& range) {
  T element{};
  size_t filled = 0;  // bytes of it
  for (const auto& chunk : chunks)
    for (size_t at = 0; at < chunk.size();) {
      const size_t taken = std::min(sizeof(T) - filled, chunk.size() - at);
      std::memcpy(reinterpret_cast<std::byte*>(&element) + filled, chunk.data() + at, taken);
      at += taken;
      filled += taken;
      if (filled < sizeof(T)) continue;
      filled = 0;
      if (!range.Contains(element))
        return Invalid("has an element ", element, ", expected ", range.lowest, " to ", range.highest);
    }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<size_t>> CheckOutputs(const inference::ModelInferRequest& request,
                                                 const Signature& signature) {
  std::vector<size_t> wanted;
  for (const auto& output : request.outputs()) {
    const auto index = IndexOf(signature.outputs, output.name());
    if (!index)
      return Invalid("output '", output.name(), "': unknown, expected ", NamesOf(signature.outputs));
    if (std::ranges::count(wanted, *index) > 0)
      return Invalid("output '", output.name(), "': is requested twice, expected once");
    RETURN_IF_ERROR(RefuseExtensions(absl::StrCat("output '", output.name(), "'"), output.parameters()));
    wanted.push_back(*index);
  }
  if (wanted.empty()) {
    wanted.resize(signature.outputs.size());
    std::iota(wanted.begin(), wanted.end(), size_t{0});
  }
  return wanted;
}

}  // namespace

absl::StatusOr<std::optional<int64_t>> ParseVersion(std::string_view text) {
  if (text.empty()) return std::nullopt;
  int64_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || end != text.data() + text.size() || version < 0)
    return Invalid("version: is '", std::string(text), "', expected a number such as '1', or nothing");
  return version;
}

absl::StatusOr<ValidInfer> ValidateInfer(WireInfer wire, const Model& model, int64_t max_batch_rows,
                                         const Reserve& reserve) {
  const Signature& signature = model.signature();
  ValidInfer valid;
  ASSIGN_OR_RETURN(valid.parameters, ReadParameters(wire.head.parameters()));
  for (const InputTensor& input : wire.head.inputs())
    RETURN_IF_ERROR(RefuseExtensions(absl::StrCat("input '", input.name(), "'"), input.parameters()));
  RETURN_IF_ERROR(CheckRawAgainstTyped(wire));

  auto bytes = std::make_shared<Bytes>();
  bytes->raw = wire.slices;
  valid.rows.inputs.resize(signature.inputs.size());
  std::vector<const InputTensor*> given(signature.inputs.size());
  std::vector<std::vector<int64_t>> row_shapes(signature.inputs.size());
  for (int i = 0; i < wire.head.inputs_size(); ++i) {
    const InputTensor& input = wire.head.inputs(i);
    const auto index = IndexOf(signature.inputs, input.name());
    if (!index) return Invalid("input '", input.name(), "': unknown, expected ", NamesOf(signature.inputs));
    if (given[*index]) return Invalid("input '", input.name(), "': is given twice, expected once");
    const TensorSignature& expected = signature.inputs[*index];

    ASSIGN_OR_RETURN(const int64_t rows, CheckInput(input, expected, signature.batched, max_batch_rows));
    if (valid.rows.count != 0 && valid.rows.count != rows)
      return Invalid("input '", input.name(), "': batch is ", rows, ", expected ", valid.rows.count,
                     " as in the inputs before it");
    given[*index] = &input;
    valid.rows.count = rows;

    row_shapes[*index].assign(input.shape().begin() + (signature.batched ? 1 : 0), input.shape().end());
    const size_t expected_bytes =
        static_cast<size_t>(rows * CountOf(row_shapes[*index])) * SizeOf(expected.dtype);
    Chunks& chunks = valid.rows.inputs[*index];
    if (!wire.raw.empty()) {
      chunks = std::move(wire.raw[static_cast<size_t>(i)]);
      if (const size_t found = SizeOfChunks(chunks); found != expected_bytes)
        return Invalid("input '", input.name(), "': has ", found, " bytes, expected ", expected_bytes,
                       " for shape ",
                       ShapeText({input.shape().data(), static_cast<size_t>(input.shape_size())}));
    } else if (const auto& contents = wire.contents[static_cast<size_t>(i)]) {
      auto dense =
          DenseBytes(*contents, expected.dtype, static_cast<int64_t>(expected_bytes / SizeOf(expected.dtype)),
                     [&](int64_t needed) { return reserve(rows, needed); });
      RETURN_IF_ERROR(WithContext(dense.status(), absl::StrCat("input '", input.name(), "'")));
      chunks = {bytes->typed.emplace_back(*std::move(dense))};
    } else if (expected_bytes > 0) {
      return Invalid("input '", input.name(), "': has no data, expected ", expected_bytes,
                     " bytes in raw_input_contents, or contents");
    }
    if (expected.range) {
      const absl::Status in_range = expected.dtype == DType::kS32
                                        ? CheckRange<int32_t>(chunks, *expected.range)
                                        : CheckRange<int64_t>(chunks, *expected.range);
      RETURN_IF_ERROR(WithContext(in_range, absl::StrCat("input '", input.name(), "'")));
    }
  }
  for (size_t i = 0; i < given.size(); ++i)
    if (!given[i])
      return Invalid("input '", signature.inputs[i].name, "': is missing, expected ",
                     NamesOf(signature.inputs));

  ASSIGN_OR_RETURN(valid.rows.shapes, model.ShapesOf(row_shapes, valid.rows.inputs));
  ASSIGN_OR_RETURN(valid.outputs, CheckOutputs(wire.head, signature));
  valid.keep_alive = std::move(bytes);
  return valid;
}

}  // namespace hachi::server
