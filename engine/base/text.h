#pragma once

#include <cstddef>
#include <string_view>

namespace hachi {

// Bytes of the UTF-8 sequence at the front of `text` (RFC 3629: shortest form, no surrogates, up to
// U+10FFFF); 0 when there is none.
size_t Utf8Length(std::string_view text);

// Whether `text` is UTF-8 without control characters: fit for tables, logs and protobuf strings.
bool IsPrintable(std::string_view text);

}  // namespace hachi
