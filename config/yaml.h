#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/base/status_macros.h"

// Strict reading of YAML: only what configuration needs, and every error says file, line and key.
namespace hachi::server {

// One value of a document, with what an error message needs to point at it.
//
// Thread-compatible.
struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::string where;            // "server.yaml:7"
  std::string key;              // path from the root, "models[1].dir"; empty for the root
  std::string name;             // of a value in a map: its key there
  std::string text;             // of a scalar, as written
  bool quoted = false;          // a scalar in quotes or a block scalar: never a number
  std::vector<YamlNode> items;  // of a list, or the values of a map in the file's order

  // INVALID_ARGUMENT "server.yaml:7: models[1].dir: <found>, expected <expected>".
  absl::Status Error(std::string_view found, std::string_view expected) const;

  // The same; <found> describes this value: `a list`, `nothing`, `"32"`.
  absl::Status Unexpected(std::string_view expected) const;
};

// Parses one document; an empty one is an empty map. `file` is for messages. Refuses what makes YAML
// surprising: anchors, aliases, merge keys, tags, several documents, duplicate keys, keys that are not
// scalars, invalid UTF-8 and control characters, more than 10,000 values or 16 levels.
absl::StatusOr<YamlNode> ParseYaml(const std::string& text, std::string_view file);

// How to read one kind of value.
template <typename T>
using YamlType = std::function<absl::StatusOr<T>(const YamlNode&)>;

// Any scalar, as written; not empty.
YamlType<std::string> YamlString();
// Decimal digits without leading zeros: 010 and 0x10 mean different numbers to different readers.
YamlType<int64_t> YamlInteger(int64_t least, int64_t most);
// A finite decimal number.
YamlType<float> YamlNumber();
// "1%", "0.5%": from 0% to 100%, as 0 to 1.
YamlType<double> YamlShare();
// "5s", "2ms", "1m30s"; at least zero, at most a day.
YamlType<absl::Duration> YamlDuration();
// "256MiB": B, KiB, MiB or GiB.
YamlType<int64_t> YamlBytes(int64_t least, int64_t most);

// One of a few words.
template <typename T>
YamlType<T> YamlEnum(std::vector<std::pair<std::string, T>> words) {
  return [words = std::move(words)](const YamlNode& node) -> absl::StatusOr<T> {
    std::string expected;
    for (const auto& [word, value] : words) {
      if (node.kind == YamlNode::Kind::kScalar && node.text == word) return value;
      expected += (expected.empty() ? "" : " | ") + word;
    }
    return node.Unexpected(expected);
  };
}

// true | false.
inline YamlType<bool> YamlBool() { return YamlEnum<bool>({{"true", true}, {"false", false}}); }

// A list, possibly empty, of one kind of value.
template <typename T>
YamlType<std::vector<T>> YamlList(YamlType<T> type) {
  return [type = std::move(type)](const YamlNode& node) -> absl::StatusOr<std::vector<T>> {
    if (node.kind != YamlNode::Kind::kList) return node.Unexpected("a list");
    std::vector<T> values;
    for (const YamlNode& item : node.items) {
      ASSIGN_OR_RETURN(T value, type(item));
      values.push_back(std::move(value));
    }
    return values;
  };
}

// A key that a map may have and what to do with its value.
struct YamlField {
  std::string key;
  std::function<absl::Status(const YamlNode&)> read;
};

// A field that stores its value in `target`, which the caller keeps alive.
template <typename T, typename U>
YamlField Into(std::string key, T& target, YamlType<U> type) {
  return {std::move(key), [&target, type = std::move(type)](const YamlNode& node) -> absl::Status {
            ASSIGN_OR_RETURN(target, type(node));
            return absl::OkStatus();
          }};
}

// Reads a map whose keys are all among `fields`, in the file's order; an absent key keeps its default.
absl::Status ReadYamlMap(const YamlNode& node, const std::vector<YamlField>& fields);

// Reads a map whose keys are names of the user's choice.
absl::Status ReadYamlNames(const YamlNode& node,
                           const std::function<absl::Status(const std::string&, const YamlNode&)>& read);

}  // namespace hachi::server
