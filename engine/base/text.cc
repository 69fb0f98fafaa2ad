#include "engine/base/text.h"

#include "absl/strings/numbers.h"

namespace hachi {

size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return tail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    const bool second = tail(1) && !(lead == 0xE0 && byte(1) < 0xA0) && !(lead == 0xED && byte(1) > 0x9F);
    return second && tail(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    const bool second = tail(1) && !(lead == 0xF0 && byte(1) < 0x90) && !(lead == 0xF4 && byte(1) > 0x8F);
    return second && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

bool IsPrintable(std::string_view text) {
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text.front());
    const size_t length = Utf8Length(text);
    if (length == 0 || byte < 0x20 || byte == 0x7F) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::optional<double> ParseShare(std::string_view text) {
  double percent = 0;
  if (!text.ends_with('%') || text.find_first_not_of("0123456789.") + 1 != text.size()) return std::nullopt;
  text.remove_suffix(1);
  if (!absl::SimpleAtod(absl::string_view(text.data(), text.size()), &percent) || percent > 100)
    return std::nullopt;
  return percent / 100;
}

}  // namespace hachi
