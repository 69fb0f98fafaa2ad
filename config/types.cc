#include "config/types.h"

#include "absl/strings/str_cat.h"

namespace hachi::server {

bool IsModelName(std::string_view name) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return !name.empty() && name.size() <= 128 && name.find_first_not_of(kAllowed) == std::string_view::npos;
}

YamlType<std::string> ModelNameType() {
  return [](const YamlNode& node) -> absl::StatusOr<std::string> {
    if (node.kind != YamlNode::Kind::kScalar || !IsModelName(node.text))
      return node.Unexpected(kModelNameRule);
    return node.text;
  };
}

YamlType<Precision> PrecisionType() {
  std::vector<std::pair<std::string, Precision>> words;
  for (const auto& [precision, name] : kPrecisionNames) words.emplace_back(name, precision);
  return YamlEnum(std::move(words));
}

YamlType<std::optional<int>> CountType() {
  return [](const YamlNode& node) -> absl::StatusOr<std::optional<int>> {
    constexpr int64_t kMost = 1024;
    if (node.kind == YamlNode::Kind::kScalar && node.text == "auto") return std::nullopt;
    const auto count = YamlInteger(1, kMost)(node);
    if (!count.ok()) return node.Unexpected(absl::StrCat("auto or a whole number from 1 to ", kMost));
    return static_cast<int>(*count);
  };
}

}  // namespace hachi::server
