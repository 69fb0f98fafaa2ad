#include "engine/onnx/tensor_proto.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/onnx/external_data.h"
#include "engine/tensor/shape.h"

namespace hachi {
namespace {

using onnx::TensorProto;

constexpr int kUint4 = 21, kInt4 = 22;
constexpr int kNewestOnnxType = 23;  // FLOAT4E2M1; what is between it and BFLOAT16 we do not support

// Elements from a typed field of `proto`, each in its own entry.
template <typename T, typename Field>
absl::StatusOr<Tensor> FromField(DType dtype, const Shape& shape, const Field& field, const char* name) {
  const int64_t count = CountOf(shape);
  if (field.size() != count)
    return absl::InvalidArgumentError(absl::StrCat(name, " has ", field.size(), " elements, expected ", count,
                                                   " for shape ", ShapeText(shape)));
  Tensor tensor(dtype, shape);
  std::byte* out = tensor.bytes().data();
  for (const auto entry : field) {
    if constexpr (std::is_integral_v<T>)
      if (!std::in_range<T>(entry))
        return absl::InvalidArgumentError(
            absl::StrCat(name, " holds ", entry, ", expected a value of ", std::string(NameOf(dtype))));
    const T element = static_cast<T>(entry);
    std::memcpy(out, &element, sizeof element);
    out += sizeof element;
  }
  return tensor;
}

absl::StatusOr<Tensor> FromFields(const TensorProto& proto, DType dtype, const Shape& shape) {
  switch (dtype) {
    case DType::kF32:
      return FromField<float>(dtype, shape, proto.float_data(), "float_data");
    case DType::kF64:
      return FromField<double>(dtype, shape, proto.double_data(), "double_data");
    case DType::kS64:
      return FromField<int64_t>(dtype, shape, proto.int64_data(), "int64_data");
    case DType::kU64:
      return FromField<uint64_t>(dtype, shape, proto.uint64_data(), "uint64_data");
    case DType::kU32:
      return FromField<uint32_t>(dtype, shape, proto.uint64_data(), "uint64_data");
    case DType::kS32:
      return FromField<int32_t>(dtype, shape, proto.int32_data(), "int32_data");
    case DType::kS16:
      return FromField<int16_t>(dtype, shape, proto.int32_data(), "int32_data");
    case DType::kS8:
      return FromField<int8_t>(dtype, shape, proto.int32_data(), "int32_data");
    case DType::kU16:
    case DType::kF16:
    case DType::kBF16:  // bit patterns, one in each entry
      return FromField<uint16_t>(dtype, shape, proto.int32_data(), "int32_data");
    case DType::kU8:
    case DType::kBool:
      return FromField<uint8_t>(dtype, shape, proto.int32_data(), "int32_data");
  }
  return absl::InternalError("dtype without a field");
}

absl::StatusOr<Tensor> FromAnywhere(const TensorProto& proto, DType dtype, const Shape& shape,
                                    const std::filesystem::path* directory) {
  const std::string& raw = proto.raw_data();
  const bool typed = !proto.float_data().empty() || !proto.int32_data().empty() ||
                     !proto.int64_data().empty() || !proto.double_data().empty() ||
                     !proto.uint64_data().empty() || !proto.string_data().empty();
  const bool external = proto.data_location() == TensorProto::EXTERNAL;
  if (external + typed + !raw.empty() > 1)
    return absl::InvalidArgumentError("tensor has elements in several places, expected one");
  if (external) {
    if (directory == nullptr)
      return absl::UnimplementedError("tensor has external data, expected its elements in the file itself");
    ASSIGN_OR_RETURN(const ExternalData where, ParseExternalData(proto));
    return ReadExternalTensor(where, dtype, shape, *directory);
  }
  if (raw.empty()) return FromFields(proto, dtype, shape);
  const uint64_t bytes = static_cast<uint64_t>(CountOf(shape)) * SizeOf(dtype);
  if (raw.size() != bytes)
    return absl::InvalidArgumentError(absl::StrCat("raw_data has ", raw.size(), " bytes, expected ", bytes,
                                                   " for ", std::string(NameOf(dtype)), ShapeText(shape)));
  Tensor tensor(dtype, shape);
  std::memcpy(tensor.bytes().data(), raw.data(), raw.size());
  return tensor;
}

// Integers of 4 bits, two in a byte, the first one in the lower half, as bytes of their own.
absl::StatusOr<Tensor> ToNibbles(const TensorProto& proto, const std::filesystem::path* directory) {
  const bool is_signed = proto.data_type() == kInt4;
  TensorProto packed = proto;
  const Shape shape(proto.dims().begin(), proto.dims().end());
  ASSIGN_OR_RETURN(const int64_t count, CheckedCount(shape, 1));
  packed.clear_dims();
  packed.add_dims((count + 1) / 2);
  packed.set_data_type(TensorProto::UINT8);
  ASSIGN_OR_RETURN(const Tensor bytes, ToTensor(packed, directory));
  Tensor tensor(is_signed ? DType::kS8 : DType::kU8, shape);
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t nibble = bytes.As<uint8_t>()[i / 2] >> (i % 2 * 4) & 15;
    const int value = is_signed && nibble > 7 ? nibble - 16 : nibble;
    tensor.bytes()[static_cast<size_t>(i)] = static_cast<std::byte>(value);
  }
  return tensor;
}

}  // namespace

absl::StatusOr<DType> ToDType(int onnx_type) {
  switch (onnx_type) {
    case TensorProto::FLOAT:
      return DType::kF32;
    case TensorProto::DOUBLE:
      return DType::kF64;
    case TensorProto::FLOAT16:
      return DType::kF16;
    case TensorProto::BFLOAT16:
      return DType::kBF16;
    case TensorProto::UINT8:
      return DType::kU8;
    case TensorProto::UINT16:
      return DType::kU16;
    case TensorProto::UINT32:
      return DType::kU32;
    case TensorProto::UINT64:
      return DType::kU64;
    case TensorProto::INT8:
      return DType::kS8;
    case TensorProto::INT16:
      return DType::kS16;
    case TensorProto::INT32:
      return DType::kS32;
    case TensorProto::INT64:
      return DType::kS64;
    case TensorProto::BOOL:
      return DType::kBool;
    default:
      break;
  }
  if (onnx_type <= 0 || onnx_type > kNewestOnnxType)
    return absl::InvalidArgumentError(
        absl::StrCat("element type is ", onnx_type, ", expected 1 to ", kNewestOnnxType));
  const std::string name = TensorProto::DataType_IsValid(onnx_type)
                               ? TensorProto::DataType_Name(static_cast<TensorProto::DataType>(onnx_type))
                               : absl::StrCat("number ", onnx_type);
  return absl::UnimplementedError(
      absl::StrCat("element type is ", name,
                   ", which we do not support, expected a float, an integer of 8 to 64 bits or bool"));
}

absl::StatusOr<Tensor> ToTensor(const TensorProto& proto, const std::filesystem::path* directory) {
  if (proto.data_type() == kUint4 || proto.data_type() == kInt4) return ToNibbles(proto, directory);
  ASSIGN_OR_RETURN(const DType dtype, ToDType(proto.data_type()));
  if (proto.has_segment())
    return absl::UnimplementedError(
        "tensor is stored in segments, which we do not support, expected a whole one");
  if (static_cast<size_t>(proto.dims_size()) > kMaxRank)
    return absl::InvalidArgumentError(
        absl::StrCat("tensor has ", proto.dims_size(), " dimensions, expected at most ", kMaxRank));
  const Shape shape(proto.dims().begin(), proto.dims().end());
  RETURN_IF_ERROR(CheckedCount(shape, SizeOf(dtype)).status());
  ASSIGN_OR_RETURN(Tensor tensor, FromAnywhere(proto, dtype, shape, directory));
  if (dtype == DType::kBool)  // any other byte than 0 and 1 would be undefined behaviour
    for (std::byte& element : tensor.bytes()) element = std::byte{element != std::byte{0}};
  return tensor;
}

}  // namespace hachi
