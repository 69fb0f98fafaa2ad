#include "server/status/html.h"

#include <algorithm>

#include "engine/base/text.h"

namespace hachi::server {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

std::string_view EntityOf(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return "";
  }
}

}  // namespace

std::string Escaped(std::string_view text) {
  std::string html;
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const std::string_view one = text.substr(0, std::max<size_t>(length, 1));
    if (const std::string_view entity = EntityOf(one[0]); !entity.empty())
      html += entity;
    else
      html += length > 0 && IsPrintable(one) ? one : kReplacement;
    text.remove_prefix(one.size());
  }
  return html;
}

}  // namespace hachi::server
