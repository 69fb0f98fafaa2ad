#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace hachi {

// Bytes of the UTF-8 sequence at the front of `text` (RFC 3629: shortest form, no surrogates, up to
// U+10FFFF); 0 when there is none.
size_t Utf8Length(std::string_view text);

// "1%" or "0.5%" as 0.01 or 0.005; nullopt for other text, and beyond 0% to 100%.
std::optional<double> ParseShare(std::string_view text);

// Whether `text` is UTF-8 without control characters: fit for tables, logs and protobuf strings.
bool IsPrintable(std::string_view text);

}  // namespace hachi
