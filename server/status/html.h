#pragma once

#include <string>
#include <string_view>

namespace hachi::server {

// Text as HTML shows it, within an element or a quoted attribute. What is no UTF-8 and control characters
// become U+FFFD.
std::string Escaped(std::string_view text);

}  // namespace hachi::server
