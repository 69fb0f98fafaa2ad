#include "server/rpc/typed_contents.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "inference.pb.h"
#include "proto/datatype.h"
#include "server/rpc/wire.h"

namespace hachi::server {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using Message = inference::InferTensorContents;

// How an element of each field lies on the wire; fields that there are not have the last.
constexpr std::array kWireTypes = {
    WireFormatLite::WIRETYPE_START_GROUP,      WireFormatLite::WIRETYPE_VARINT,   // bool
    WireFormatLite::WIRETYPE_VARINT,           WireFormatLite::WIRETYPE_VARINT,   // int, int64
    WireFormatLite::WIRETYPE_VARINT,           WireFormatLite::WIRETYPE_VARINT,   // uint, uint64
    WireFormatLite::WIRETYPE_FIXED32,          WireFormatLite::WIRETYPE_FIXED64,  // fp32, fp64
    WireFormatLite::WIRETYPE_LENGTH_DELIMITED,                                    // bytes
};

// Elements by field.
using Counts = std::array<int64_t, kWireTypes.size()>;

// One element as protobuf reads it: a number of fewer bits has them in the lowest.
bool ReadBits(CodedInputStream& in, WireFormatLite::WireType type, uint64_t& bits) {
  if (type == WireFormatLite::WIRETYPE_VARINT) return in.ReadVarint64(&bits);
  if (type == WireFormatLite::WIRETYPE_FIXED64) return in.ReadLittleEndian64(&bits);
  uint32_t half = 0;
  const bool read = in.ReadLittleEndian32(&half);
  bits = half;
  return read;
}

// Calls fn(field, bits) for each element, packed or not, until it returns false; false too where the bytes
// are no InferTensorContents. Elements of bytes have no bits.
template <typename Fn>
bool ForEachElement(const Chunks& contents, Fn fn) {
  ChunkStream stream(contents);
  CodedInputStream in(&stream);
  in.PushLimit(static_cast<int>(SizeOfChunks(contents)));
  while (true) {
    const absl::StatusOr<uint32_t> tag = NextTag(in);
    if (!tag.ok() || *tag == 0) return tag.ok();
    const auto field = static_cast<size_t>(WireFormatLite::GetTagFieldNumber(*tag));
    const auto type = WireFormatLite::GetTagWireType(*tag);
    const auto own = field < kWireTypes.size() ? kWireTypes[field] : kWireTypes[0];
    const bool is_number = own == WireFormatLite::WIRETYPE_VARINT ||
                           own == WireFormatLite::WIRETYPE_FIXED32 || own == WireFormatLite::WIRETYPE_FIXED64;
    uint64_t bits = 0;
    if (is_number && type == own) {
      if (!ReadBits(in, own, bits) || !fn(field, bits)) return false;
    } else if (is_number && type == WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      const absl::StatusOr<int> length = ReadLength(in);
      if (!length.ok()) return false;
      const CodedInputStream::Limit limit = in.PushLimit(*length);
      while (in.BytesUntilLimit() > 0)
        if (!ReadBits(in, own, bits) || !fn(field, bits)) return false;
      in.PopLimit(limit);
    } else {
      if (!SkipField(in, *tag).ok()) return false;
      if (type == own && !fn(field, 0)) return false;
    }
  }
}

// What protobuf's field of Number has for these bits.
template <typename Number>
Number NumberOf(uint64_t bits) {
  if constexpr (std::is_same_v<Number, bool>) return bits != 0;
  if constexpr (std::is_same_v<Number, float>) return std::bit_cast<float>(static_cast<uint32_t>(bits));
  if constexpr (std::is_same_v<Number, double>) return std::bit_cast<double>(bits);
  if constexpr (std::is_integral_v<Number>) return static_cast<Number>(bits);
}

absl::Status Malformed() {
  return absl::InvalidArgumentError("contents: their bytes are malformed, expected an InferTensorContents");
}

// OK when all elements are in `field`, and `count` of them.
absl::Status CheckCounts(const Counts& counts, size_t field, int64_t count) {
  const std::string name = Message::descriptor()->FindFieldByNumber(static_cast<int>(field))->name();
  const int64_t all = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  if (all != counts[field])
    return absl::InvalidArgumentError(absl::StrCat("contents have ", all - counts[field],
                                                   " elements in other fields, expected all in ", name));
  if (all != count)
    return absl::InvalidArgumentError(absl::StrCat(name, " has ", all, " elements, expected ", count));
  return absl::OkStatus();
}

// The elements of `field`, which has `count` Numbers and is the only one, as bytes of T.
template <typename T, typename Number>
absl::StatusOr<std::vector<std::byte>> Convert(const Chunks& contents, int field, int64_t count) {
  std::vector<std::byte> bytes(static_cast<size_t>(count) * sizeof(T));
  std::byte* next = bytes.data();
  absl::Status in_range;
  const auto convert = [&](size_t, uint64_t bits) {
    const Number number = NumberOf<Number>(bits);
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      if (!std::in_range<T>(number)) {
        in_range = absl::InvalidArgumentError(
            absl::StrCat(Message::descriptor()->FindFieldByNumber(field)->name(), "[",
                         (next - bytes.data()) / static_cast<ptrdiff_t>(sizeof(T)), "] is ", number,
                         ", expected a value of ", std::string(WireName(kDTypeOf<T>))));
        return false;
      }
    }
    const T value = static_cast<T>(number);
    std::memcpy(next, &value, sizeof(T));
    next += sizeof(T);
    return true;
  };
  const bool whole = ForEachElement(contents, convert);
  RETURN_IF_ERROR(in_range);
  if (!whole) return Malformed();
  return bytes;
}

// How elements of a datatype are read.
struct Reader {
  int field;
  absl::StatusOr<std::vector<std::byte>> (*convert)(const Chunks&, int field, int64_t count);
};

// No field for half precision.
absl::StatusOr<Reader> ReaderOf(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return Reader{Message::kBoolContentsFieldNumber, Convert<bool, bool>};
    case DType::kS8:
      return Reader{Message::kIntContentsFieldNumber, Convert<int8_t, int32_t>};
    case DType::kS16:
      return Reader{Message::kIntContentsFieldNumber, Convert<int16_t, int32_t>};
    case DType::kS32:
      return Reader{Message::kIntContentsFieldNumber, Convert<int32_t, int32_t>};
    case DType::kS64:
      return Reader{Message::kInt64ContentsFieldNumber, Convert<int64_t, int64_t>};
    case DType::kU8:
      return Reader{Message::kUintContentsFieldNumber, Convert<uint8_t, uint32_t>};
    case DType::kU16:
      return Reader{Message::kUintContentsFieldNumber, Convert<uint16_t, uint32_t>};
    case DType::kU32:
      return Reader{Message::kUintContentsFieldNumber, Convert<uint32_t, uint32_t>};
    case DType::kU64:
      return Reader{Message::kUint64ContentsFieldNumber, Convert<uint64_t, uint64_t>};
    case DType::kF32:
      return Reader{Message::kFp32ContentsFieldNumber, Convert<float, float>};
    case DType::kF64:
      return Reader{Message::kFp64ContentsFieldNumber, Convert<double, double>};
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  return absl::InvalidArgumentError(absl::StrCat("contents are given for ", std::string(WireName(dtype)),
                                                 ", which has no typed field, expected raw_input_contents"));
}

}  // namespace

absl::StatusOr<std::vector<std::byte>> DenseBytes(const Chunks& contents, DType dtype, int64_t count,
                                                  const std::function<absl::Status(int64_t bytes)>& reserve) {
  ASSIGN_OR_RETURN(const Reader reader, ReaderOf(dtype));
  Counts counts{};
  const bool whole = ForEachElement(contents, [&](size_t field, uint64_t) {
    ++counts[field];
    return true;
  });
  if (!whole) return Malformed();
  RETURN_IF_ERROR(CheckCounts(counts, static_cast<size_t>(reader.field), count));
  RETURN_IF_ERROR(reserve(count * static_cast<int64_t>(SizeOf(dtype))));
  return reader.convert(contents, reader.field, count);
}

}  // namespace hachi::server
