// Typed contents of an input, cut into chunks; the first byte says how.
#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "inference.pb.h"
#include "server/rpc/typed_contents.h"
#include "tests/fuzz/fuzz.h"

namespace {

using hachi::DType;
using hachi::Require;
using inference::InferTensorContents;

constexpr DType kDTypes[] = {DType::kF32, DType::kF64, DType::kF16, DType::kBF16, DType::kU8,
                             DType::kU16, DType::kU32, DType::kU64, DType::kS8,   DType::kS16,
                             DType::kS32, DType::kS64, DType::kBool};

int64_t CountOf(const InferTensorContents& contents) {
  return int64_t{contents.bool_contents_size()} + contents.int_contents_size() +
         contents.int64_contents_size() + contents.uint_contents_size() + contents.uint64_contents_size() +
         contents.fp32_contents_size() + contents.fp64_contents_size() + contents.bytes_contents_size();
}

// The elements as protobuf read them; nothing when one is out of T's range.
template <typename T, typename Field>
std::optional<std::vector<std::byte>> Reference(const Field& field) {
  std::vector<std::byte> bytes(static_cast<size_t>(field.size()) * sizeof(T));
  for (int i = 0; i < field.size(); ++i) {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
      if (!std::in_range<T>(field[i])) return std::nullopt;
    const T value = static_cast<T>(field[i]);
    std::memcpy(bytes.data() + static_cast<size_t>(i) * sizeof(T), &value, sizeof(T));
  }
  return bytes;
}

std::optional<std::vector<std::byte>> Reference(const InferTensorContents& contents, DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return Reference<bool>(contents.bool_contents());
    case DType::kS8:
      return Reference<int8_t>(contents.int_contents());
    case DType::kS16:
      return Reference<int16_t>(contents.int_contents());
    case DType::kS32:
      return Reference<int32_t>(contents.int_contents());
    case DType::kS64:
      return Reference<int64_t>(contents.int64_contents());
    case DType::kU8:
      return Reference<uint8_t>(contents.uint_contents());
    case DType::kU16:
      return Reference<uint16_t>(contents.uint_contents());
    case DType::kU32:
      return Reference<uint32_t>(contents.uint_contents());
    case DType::kU64:
      return Reference<uint64_t>(contents.uint64_contents());
    case DType::kF32:
      return Reference<float>(contents.fp32_contents());
    case DType::kF64:
      return Reference<double>(contents.fp64_contents());
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  return std::nullopt;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string bytes(hachi::TextOf(data + 1, size - 1));
  hachi::server::Chunks chunks;
  for (size_t i = 0; i < bytes.size(); i += 1 + data[0])
    chunks.push_back(
        std::as_bytes(std::span(bytes).subspan(i, std::min<size_t>(1 + data[0], bytes.size() - i))));
  InferTensorContents contents;
  const bool parses = contents.ParseFromString(bytes);
  for (const DType dtype : kDTypes) {
    int64_t asked = 0;
    const auto reserve = [&](int64_t needed) {
      asked += needed;
      return absl::OkStatus();
    };
    const auto dense = hachi::server::DenseBytes(chunks, dtype, CountOf(contents), reserve);
    Require(asked <= 8 * std::ssize(bytes), "a byte becomes eight at most");
    if (!dense.ok()) continue;
    Require(parses, "protobuf reads it too");
    const auto reference = Reference(contents, dtype);
    Require(reference.has_value() && *dense == *reference, "protobuf reads the same");
    Require(std::ssize(*dense) == asked, "memory is asked for");
  }
  return 0;
}
