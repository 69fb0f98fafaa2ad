#pragma once

#include <string_view>

namespace hachi {

// Writes one line, "2026-11-24T08:30:00.123Z INFO message", to standard error. An error is returned or
// logged, not both; the layer that stops it logs it once.
//
// Thread-safe: lines do not interleave.
void LogInfo(std::string_view message);
void LogWarning(std::string_view message);
void LogError(std::string_view message);

}  // namespace hachi
