#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>

namespace hachi {

// What a model or a layer is asked to compute in, or computes in. Configuration, decisions, plans and metrics
// speak of it in these words.
enum class Precision { kAuto, kInt8, kInt8Dynamic, kInt8Weights, kBf16, kFp32 };

inline constexpr std::array<std::pair<Precision, std::string_view>, 6> kPrecisionNames = {
    {{Precision::kAuto, "auto"},
     {Precision::kInt8, "int8"},
     {Precision::kInt8Dynamic, "int8_dynamic"},
     {Precision::kInt8Weights, "int8_weights"},
     {Precision::kBf16, "bf16"},
     {Precision::kFp32, "fp32"}}};

constexpr std::string_view NameOf(Precision precision) {
  return kPrecisionNames[static_cast<size_t>(precision)].second;
}

constexpr std::optional<Precision> ParsePrecision(std::string_view name) {
  for (const auto& [precision, each] : kPrecisionNames)
    if (each == name) return precision;
  return std::nullopt;
}

}  // namespace hachi
