#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/model_config.h"
#include "config/yaml.h"

// What both configuration files know: limits and the kinds of values that they share.
namespace hachi::server {

// yaml-cpp may take 250 times a text of brackets: 64 MiB for so many.
inline constexpr size_t kMaxConfigBytes = size_t{256} << 10;
inline constexpr int64_t kMaxRows = 65536;

// A model's name is a label of metrics and a part of messages and paths.
inline constexpr char kModelNameRule[] = "up to 128 letters, digits or any of . _ -";
bool IsModelName(std::string_view name);
YamlType<std::string> ModelNameType();

// auto | int8 | bf16 | fp32
YamlType<Precision> PrecisionType();

// "auto" (nullopt) or a number of workers or threads.
YamlType<std::optional<int>> CountType();

}  // namespace hachi::server
