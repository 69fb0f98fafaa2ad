#include "config/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/text.h"

namespace hachi::server {
namespace {

constexpr size_t kMaxDepth = 16;
constexpr int kMaxValues = 10000;

// Largest first.
constexpr std::pair<const char*, int> kByteUnits[] = {{"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"B", 0}};

// In the largest unit that divides it.
std::string FormatBytes(int64_t bytes) {
  for (const auto& [unit, shift] : kByteUnits)
    if (const int64_t count = bytes >> shift; count << shift == bytes) return absl::StrCat(count, unit);
  return "";
}

absl::Status CheckCharacters(std::string_view text, std::string_view file) {
  int line = 1;
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const size_t length = Utf8Length(text.substr(i));
    const bool space = byte == '\t' || byte == '\n' || byte == '\r';
    if (length == 0 || (!space && !IsPrintable(text.substr(i, length))))
      return absl::InvalidArgumentError(absl::StrCat(std::string(file), ":", line, ": byte 0x",
                                                     absl::Hex(byte, absl::kZeroPad2),
                                                     ", expected UTF-8 without control characters"));
    if (byte == '\n') ++line;
    i += length;
  }
  return absl::OkStatus();
}

// Builds a YamlNode tree from the parser's events and throws at what we refuse.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::string_view file) : file_(file) {
    root_.kind = YamlNode::Kind::kMap;
    root_.where = file_ + ":1";
  }

  YamlNode& root() { return root_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) Refuse(mark, "a second document", "one");
  }
  void OnDocumentEnd() override {}
  void OnAnchor(const YAML::Mark& mark, const std::string&) override {
    Refuse(mark, "an anchor", "plain YAML");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { Refuse(mark, "an alias", "plain YAML"); }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    YamlNode node;
    Add(mark, anchor, "", std::move(node));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node;
    node.kind = YamlNode::Kind::kScalar;
    node.text = value;
    node.quoted = tag == "!";
    Add(mark, anchor, tag, std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    YamlNode node;
    node.kind = YamlNode::Kind::kList;
    Open(mark, anchor, tag, std::move(node));
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    YamlNode node;
    node.kind = YamlNode::Kind::kMap;
    Open(mark, anchor, tag, std::move(node));
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  struct Level {
    YamlNode* node;
    bool has_key = false;  // of a map: the key was read, its value comes next
  };

  [[noreturn]] static void Refuse(const YAML::Mark& mark, std::string_view found, std::string_view expected) {
    throw YAML::ParserException(mark, std::string(found) + ", expected " + std::string(expected));
  }

  void Open(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag, YamlNode node) {
    if (open_.size() == kMaxDepth)
      Refuse(mark, "nested deeper", absl::StrCat("at most ", kMaxDepth, " levels"));
    YamlNode* added = Add(mark, anchor, tag, std::move(node));
    open_.push_back({.node = added, .has_key = false});
  }

  // Puts `node` where the document's position says. Pointers in open_ stay valid: a container grows only
  // while none of its children is open.
  YamlNode* Add(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag, YamlNode node) {
    if (anchor != YAML::NullAnchor) Refuse(mark, "an anchor", "plain YAML");
    if (!tag.empty() && tag != "?" && tag != "!") Refuse(mark, "tag '" + tag + "'", "plain YAML");
    if (++values_ > kMaxValues) Refuse(mark, "more values", absl::StrCat("at most ", kMaxValues));
    node.where = absl::StrCat(file_, ":", mark.line + 1);
    if (open_.empty()) {
      if (node.kind == YamlNode::Kind::kNull) return &root_;  // an empty document is an empty map
      root_ = std::move(node);
      return &root_;
    }
    Level& level = open_.back();
    YamlNode& parent = *level.node;
    if (parent.kind == YamlNode::Kind::kList) {
      node.key = absl::StrCat(parent.key, "[", parent.items.size(), "]");
      parent.items.push_back(std::move(node));
      return &parent.items.back();
    }
    if (!level.has_key) {
      if (node.kind != YamlNode::Kind::kScalar || node.text.empty())
        Refuse(mark, "a key that is not a word", "one");
      if (node.text == "<<" && !node.quoted) Refuse(mark, "a merge key", "plain YAML");
      for (const YamlNode& value : parent.items)
        if (value.name == node.text)
          Refuse(mark, "key '" + node.text + "' again", "it once (first at " + value.where + ")");
      level.has_key = true;
      YamlNode value;
      value.where = node.where;
      value.key = parent.key.empty() ? node.text : absl::StrCat(parent.key, ".", node.text);
      value.name = std::move(node.text);
      parent.items.push_back(std::move(value));
      return nullptr;
    }
    level.has_key = false;
    YamlNode& value = parent.items.back();
    node.key = std::move(value.key);
    node.name = std::move(value.name);
    if (node.kind == YamlNode::Kind::kNull)
      node.where = std::move(value.where);  // the key's line, not the next
    value = std::move(node);
    return &value;
  }

  const std::string file_;
  YamlNode root_;
  std::vector<Level> open_;
  int documents_ = 0, values_ = 0;
};

}  // namespace

absl::Status YamlNode::Error(std::string_view found, std::string_view expected) const {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", key, key.empty() ? "" : ": ",
                                                 std::string(found), ", expected ", std::string(expected)));
}

absl::Status YamlNode::Unexpected(std::string_view expected) const {
  constexpr size_t kMaxShown = 60;
  switch (kind) {
    case Kind::kNull:
      return Error("nothing", expected);
    case Kind::kList:
      return Error("a list", expected);
    case Kind::kMap:
      return Error("a map", expected);
    case Kind::kScalar:
      break;
  }
  std::string shown = absl::Utf8SafeCHexEscape(text);
  if (shown.size() > kMaxShown) {
    size_t end = kMaxShown;  // at the border of a character
    while (end > 0 && (static_cast<unsigned char>(shown[end]) & 0xC0) == 0x80) --end;
    shown = shown.substr(0, end) + "...";
  }
  return Error(quoted ? "\"" + shown + "\"" : "'" + shown + "'", expected);
}

absl::StatusOr<YamlNode> ParseYaml(const std::string& text, std::string_view file) {
  RETURN_IF_ERROR(CheckCharacters(text, file));
  TreeBuilder builder(file);
  try {
    // The end marker turns a quote that is never closed, which the parser would accept, into an error.
    std::istringstream in(text + "\n...\n");
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(file), ":", e.mark.line + 1, ": ", e.msg));
  }
  return std::move(builder.root());
}

YamlType<std::string> YamlString() {
  return [](const YamlNode& node) -> absl::StatusOr<std::string> {
    if (node.kind != YamlNode::Kind::kScalar || node.text.empty()) return node.Unexpected("a string");
    return node.text;
  };
}

YamlType<int64_t> YamlInteger(int64_t least, int64_t most) {
  return [=](const YamlNode& node) -> absl::StatusOr<int64_t> {
    const std::string& text = node.text;
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = node.kind == YamlNode::Kind::kScalar && !node.quoted && error == std::errc() &&
                       end == text.data() + text.size() && absl::StrCat(value) == text;
    if (!whole || value < least || value > most)
      return node.Unexpected(absl::StrCat("a whole number from ", least, " to ", most));
    return value;
  };
}

YamlType<float> YamlNumber() {
  return [](const YamlNode& node) -> absl::StatusOr<float> {
    float value = 0;
    const bool decimal = node.kind == YamlNode::Kind::kScalar && !node.quoted &&
                         node.text.find_first_not_of("0123456789+-.eE") == std::string::npos;
    if (!decimal || !absl::SimpleAtof(node.text, &value) || !std::isfinite(value))
      return node.Unexpected("a decimal number");
    return value;
  };
}

YamlType<double> YamlShare() {
  return [](const YamlNode& node) -> absl::StatusOr<double> {
    const auto share = ParseShare(node.text);
    if (node.kind != YamlNode::Kind::kScalar || !share)
      return node.Unexpected("a share from 0% to 100%, such as 1%");
    return *share;
  };
}

YamlType<absl::Duration> YamlDuration() {
  return [](const YamlNode& node) -> absl::StatusOr<absl::Duration> {
    absl::Duration value;
    if (node.kind != YamlNode::Kind::kScalar || !absl::ParseDuration(node.text, &value) ||
        value < absl::ZeroDuration() || value > absl::Hours(24))
      return node.Unexpected("a duration from 0s to 24h, such as 5s or 2ms");
    return value;
  };
}

YamlType<int64_t> YamlBytes(int64_t least, int64_t most) {
  return [=](const YamlNode& node) -> absl::StatusOr<int64_t> {
    int64_t value = 0;
    const std::string& text = node.text;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && node.kind == YamlNode::Kind::kScalar)
      for (const auto& [unit, shift] : kByteUnits)
        if (std::string_view(end, text.data() + text.size()) == unit && value >= 0 &&
            value <= (INT64_MAX >> shift) && value << shift >= least && value << shift <= most)
          return value << shift;
    return node.Unexpected(absl::StrCat("a size from ", FormatBytes(least), " to ", FormatBytes(most)));
  };
}

absl::Status ReadYamlMap(const YamlNode& node, const std::vector<YamlField>& fields) {
  return ReadYamlNames(node, [&](const std::string& key, const YamlNode& value) -> absl::Status {
    const auto field =
        std::find_if(fields.begin(), fields.end(), [&](const YamlField& f) { return f.key == key; });
    if (field != fields.end()) return field->read(value);
    return value.Error("unknown key",
                       "one of " + absl::StrJoin(fields, ", ", [](std::string* out, const YamlField& f) {
                         out->append(f.key);
                       }));
  });
}

absl::Status ReadYamlNames(const YamlNode& node,
                           const std::function<absl::Status(const std::string&, const YamlNode&)>& read) {
  if (node.kind != YamlNode::Kind::kMap) return node.Unexpected("a map");
  for (const YamlNode& value : node.items) RETURN_IF_ERROR(read(value.name, value));
  return absl::OkStatus();
}

}  // namespace hachi::server
