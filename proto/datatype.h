#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/tensor/dtype.h"

namespace hachi::server {

inline constexpr std::array<std::pair<DType, std::string_view>, 13> kWireNames = {{
    {DType::kF32, "FP32"},
    {DType::kF64, "FP64"},
    {DType::kF16, "FP16"},
    {DType::kBF16, "BF16"},
    {DType::kU8, "UINT8"},
    {DType::kU16, "UINT16"},
    {DType::kU32, "UINT32"},
    {DType::kU64, "UINT64"},
    {DType::kS8, "INT8"},
    {DType::kS16, "INT16"},
    {DType::kS32, "INT32"},
    {DType::kS64, "INT64"},
    {DType::kBool, "BOOL"},
}};

// A datatype as the protocol spells it: "FP32", "UINT8", "BOOL".
constexpr std::string_view WireName(DType dtype) {
  for (const auto& [value, name] : kWireNames)
    if (value == dtype) return name;
  return "";
}

// Nothing for names that no tensor of ours has, BYTES among them.
constexpr std::optional<DType> ParseWireName(std::string_view text) {
  for (const auto& [value, name] : kWireNames)
    if (name == text) return value;
  return std::nullopt;
}

}  // namespace hachi::server
