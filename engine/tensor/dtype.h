#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hachi {

// Element types. s8 and u8 are integers; whether they stand for real numbers is said by QuantParams, not
// here.
enum class DType : uint8_t { kF32, kF64, kF16, kBF16, kU8, kU16, kU32, kU64, kS8, kS16, kS32, kS64, kBool };

// Bytes of one element.
size_t SizeOf(DType dtype);

// "f32", "f64", "f16", "bf16", "u8" ... "s64", "bool": the spelling of graph and plan text.
std::string_view NameOf(DType dtype);
std::optional<DType> ParseDType(std::string_view name);

// The DType of a C++ type, e.g. kDTypeOf<float> == DType::kF32.
template <typename T>
inline constexpr DType kDTypeOf = [] { static_assert(sizeof(T) == 0, "not an element type"); }();
template <>
inline constexpr DType kDTypeOf<float> = DType::kF32;
template <>
inline constexpr DType kDTypeOf<double> = DType::kF64;
template <>
inline constexpr DType kDTypeOf<uint8_t> = DType::kU8;
template <>
inline constexpr DType kDTypeOf<uint16_t> = DType::kU16;
template <>
inline constexpr DType kDTypeOf<uint32_t> = DType::kU32;
template <>
inline constexpr DType kDTypeOf<uint64_t> = DType::kU64;
template <>
inline constexpr DType kDTypeOf<int8_t> = DType::kS8;
template <>
inline constexpr DType kDTypeOf<int16_t> = DType::kS16;
template <>
inline constexpr DType kDTypeOf<int32_t> = DType::kS32;
template <>
inline constexpr DType kDTypeOf<int64_t> = DType::kS64;
template <>
inline constexpr DType kDTypeOf<bool> = DType::kBool;

}  // namespace hachi
