#include "server/rpc/typed_contents.h"

#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/datatype.h"

namespace hachi::server {
namespace {

using inference::InferTensorContents;

int64_t CountOfAllFields(const InferTensorContents& contents) {
  return int64_t{contents.bool_contents_size()} + contents.int_contents_size() +
         contents.int64_contents_size() + contents.uint_contents_size() + contents.uint64_contents_size() +
         contents.fp32_contents_size() + contents.fp64_contents_size() + contents.bytes_contents_size();
}

// The elements of `field` as bytes of T.
template <typename T, typename Field>
absl::StatusOr<std::vector<std::byte>> Convert(const InferTensorContents& contents, const Field& field,
                                               const char* field_name, int64_t count) {
  const std::string_view dtype = WireName(kDTypeOf<T>);
  if (field.size() != CountOfAllFields(contents))
    return absl::InvalidArgumentError(
        absl::StrCat("contents have ", CountOfAllFields(contents) - field.size(),
                     " elements in other fields, expected all in ", field_name));
  if (field.size() != count)
    return absl::InvalidArgumentError(
        absl::StrCat(field_name, " has ", field.size(), " elements, expected ", count));
  std::vector<std::byte> bytes(static_cast<size_t>(count) * sizeof(T));
  for (int i = 0; i < field.size(); ++i) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      if (!std::in_range<T>(field[i]))
        return absl::InvalidArgumentError(absl::StrCat(field_name, "[", i, "] is ", field[i],
                                                       ", expected a value of ", std::string(dtype)));
    }
    const T value = static_cast<T>(field[i]);
    std::memcpy(bytes.data() + static_cast<size_t>(i) * sizeof(T), &value, sizeof(T));
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::vector<std::byte>> DenseBytes(const InferTensorContents& contents, DType dtype,
                                                  int64_t count) {
  switch (dtype) {
    case DType::kBool:
      return Convert<bool>(contents, contents.bool_contents(), "bool_contents", count);
    case DType::kS8:
      return Convert<int8_t>(contents, contents.int_contents(), "int_contents", count);
    case DType::kS16:
      return Convert<int16_t>(contents, contents.int_contents(), "int_contents", count);
    case DType::kS32:
      return Convert<int32_t>(contents, contents.int_contents(), "int_contents", count);
    case DType::kS64:
      return Convert<int64_t>(contents, contents.int64_contents(), "int64_contents", count);
    case DType::kU8:
      return Convert<uint8_t>(contents, contents.uint_contents(), "uint_contents", count);
    case DType::kU16:
      return Convert<uint16_t>(contents, contents.uint_contents(), "uint_contents", count);
    case DType::kU32:
      return Convert<uint32_t>(contents, contents.uint_contents(), "uint_contents", count);
    case DType::kU64:
      return Convert<uint64_t>(contents, contents.uint64_contents(), "uint64_contents", count);
    case DType::kF32:
      return Convert<float>(contents, contents.fp32_contents(), "fp32_contents", count);
    case DType::kF64:
      return Convert<double>(contents, contents.fp64_contents(), "fp64_contents", count);
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  return absl::InvalidArgumentError(absl::StrCat("contents are given for ", std::string(WireName(dtype)),
                                                 ", which has no typed field, expected raw_input_contents"));
}

}  // namespace hachi::server
