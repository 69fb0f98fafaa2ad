#include "config/yaml.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "tests/support/status_matchers.h"

namespace hachi::server {
namespace {

using ::testing::ElementsAre;

// The message with which a document is refused; empty when it is accepted.
std::string Refusal(const std::string& text) {
  const auto root = ParseYaml(text, "f.yaml");
  EXPECT_TRUE(root.ok() || root.status().code() == absl::StatusCode::kInvalidArgument) << root.status();
  return root.ok() ? "" : std::string(root.status().message());
}

TEST(ParseYamlTest, ReadsMapsListsAndScalarsWithTheirPlaces) {
  const auto root = ParseYaml("a:\n  b: [1, \"two\"]\nc:\n", "f.yaml");
  ASSERT_OK(root);
  ASSERT_EQ(root->items.size(), 2u);
  const YamlNode& list = root->items[0].items[0];
  EXPECT_EQ(list.key, "a.b");
  ASSERT_EQ(list.items.size(), 2u);
  EXPECT_EQ(list.items[0].text, "1");
  EXPECT_FALSE(list.items[0].quoted);
  EXPECT_EQ(list.items[1].key, "a.b[1]");
  EXPECT_EQ(list.items[1].where, "f.yaml:2");
  EXPECT_TRUE(list.items[1].quoted);
  EXPECT_EQ(root->items[1].kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root->items[1].where, "f.yaml:3");
}

TEST(ParseYamlTest, AnEmptyDocumentIsAnEmptyMap) {
  for (const char* text : {"", "# only a comment\n", "---\n", "~\n", "\xEF\xBB\xBF"}) {
    const auto root = ParseYaml(text, "f.yaml");
    ASSERT_OK(root) << text;
    EXPECT_EQ(root->kind, YamlNode::Kind::kMap);
    EXPECT_TRUE(root->items.empty());
  }
}

TEST(ParseYamlTest, RefusesWhatMakesYamlSurprising) {
  EXPECT_EQ(Refusal("a: 1\na: 2\n"), "f.yaml:2: key 'a' again, expected it once (first at f.yaml:1)");
  EXPECT_EQ(Refusal("m: {x: 1, x: 2}\n"), "f.yaml:1: key 'x' again, expected it once (first at f.yaml:1)");
  EXPECT_EQ(Refusal("a: &x 1\n"), "f.yaml:1: an anchor, expected plain YAML");
  EXPECT_EQ(Refusal("a: &x [1, *x]\n"), "f.yaml:1: an anchor, expected plain YAML");
  EXPECT_EQ(Refusal("&x a: 1\n"), "f.yaml:1: an anchor, expected plain YAML");
  EXPECT_EQ(Refusal("<<: {a: 1}\n"), "f.yaml:1: a merge key, expected plain YAML");
  EXPECT_EQ(Refusal("a: !!int 3\n"), "f.yaml:1: tag 'tag:yaml.org,2002:int', expected plain YAML");
  EXPECT_EQ(Refusal("a: !mine {b: 1}\n"), "f.yaml:1: tag '!mine', expected plain YAML");
  EXPECT_EQ(Refusal("a: 1\n---\nb: 2\n"), "f.yaml:2: a second document, expected one");
  EXPECT_EQ(Refusal("[a, b]: 1\n"), "f.yaml:1: a key that is not a word, expected one");
  EXPECT_EQ(Refusal("~: 1\n"), "f.yaml:1: a key that is not a word, expected one");
  EXPECT_EQ(Refusal("a: 1\nb: \xC3\x28\n"), "f.yaml:2: byte 0xc3, expected UTF-8 without control characters");
  EXPECT_EQ(Refusal("a: \xED\xA0\x80"), "f.yaml:1: byte 0xed, expected UTF-8 without control characters");
  EXPECT_EQ(Refusal("a: \xF5\x80\x80\x80"), "f.yaml:1: byte 0xf5, expected UTF-8 without control characters");
  EXPECT_EQ(Refusal("a: \x01"), "f.yaml:1: byte 0x01, expected UTF-8 without control characters");
  EXPECT_EQ(Refusal(std::string("a: 1\0", 5)),
            "f.yaml:1: byte 0x00, expected UTF-8 without control characters");
  EXPECT_EQ(Refusal(std::string(17, '[') + std::string(17, ']')),
            "f.yaml:1: nested deeper, expected at most 16 levels");
  std::string many = "[";
  for (int i = 0; i < 10000; ++i) many += "1,";
  EXPECT_EQ(Refusal(many + "]"), "f.yaml:1: more values, expected at most 10000");
}

TEST(ParseYamlTest, RefusesBrokenSyntaxWithItsLine) {
  for (const char* text : {"a: [1, 2\n", "a: b: c\n", "a: 1\n b: 2\n", "a: \"x\n", "a: 'x", "- 1\nb: 2\n",
                           "a: *nowhere\n", "a: @x\n", "\ta: 1\n"})
    EXPECT_THAT(Refusal(text), ::testing::StartsWith("f.yaml:")) << text;
}

TEST(ParseYamlTest, AcceptsCharactersOfEveryLength) {
  EXPECT_EQ(Refusal("a: \xC3\xA9\xE5\x85\xAB\xF0\x9F\x8E\xB1"), "");
}

// Reads the value of key `v` of a one-line document.
template <typename T>
absl::StatusOr<T> Read(const YamlType<T>& type, const std::string& value) {
  ASSIGN_OR_RETURN(const YamlNode root, ParseYaml("v: " + value + "\n", "f.yaml"));
  return type(root.items.at(0));
}

TEST(YamlIntegerTest, ReadsDecimalNumbersInItsRange) {
  EXPECT_THAT(Read(YamlInteger(-5, 100), "100"), IsOkAndHolds(100));
  EXPECT_THAT(Read(YamlInteger(-5, 100), "-5"), IsOkAndHolds(-5));
  EXPECT_THAT(Read(YamlInteger(0, 100), "0"), IsOkAndHolds(0));
}

TEST(YamlIntegerTest, RefusesWhatReadersDisagreeAbout) {
  for (const char* text : {"010", "0x10", "0b1", "0o7", "1_000", "1e3", "1.0", "+1", "yes", "101", "-6",
                           "99999999999999999999", "1 2"})
    EXPECT_THAT(Read(YamlInteger(-5, 100), text),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         "f.yaml:1: v: '" + std::string(text) + "', expected a whole number from -5 to 100"));
  EXPECT_THAT(Read(YamlInteger(0, 9), "\"1\""),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "f.yaml:1: v: \"1\", expected a whole number from 0 to 9"));
  EXPECT_THAT(Read(YamlInteger(0, 9), "[1]"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "f.yaml:1: v: a list, expected a whole number from 0 to 9"));
  EXPECT_THAT(Read(YamlInteger(0, 9), "{a: 1}"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "f.yaml:1: v: a map, expected a whole number from 0 to 9"));
  EXPECT_THAT(Read(YamlInteger(0, 9), ""),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "f.yaml:1: v: nothing, expected a whole number from 0 to 9"));
}

TEST(YamlNumberTest, ReadsFiniteDecimals) {
  EXPECT_THAT(Read(YamlNumber(), "33.3"), IsOkAndHolds(33.3f));
  EXPECT_THAT(Read(YamlNumber(), "-1e-3"), IsOkAndHolds(-1e-3f));
  for (const char* text : {".inf", "nan", "0x1p3", "1e99", "one", "1.2.3"})
    EXPECT_THAT(Read(YamlNumber(), text),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         "f.yaml:1: v: '" + std::string(text) + "', expected a decimal number"));
}

TEST(YamlDurationTest, ReadsNumbersWithUnits) {
  EXPECT_THAT(Read(YamlDuration(), "5s"), IsOkAndHolds(absl::Seconds(5)));
  EXPECT_THAT(Read(YamlDuration(), "2ms"), IsOkAndHolds(absl::Milliseconds(2)));
  EXPECT_THAT(Read(YamlDuration(), "1m30s"), IsOkAndHolds(absl::Seconds(90)));
  EXPECT_THAT(Read(YamlDuration(), "0s"), IsOkAndHolds(absl::ZeroDuration()));
  for (const char* text : {"5", "-1s", "inf", "25h", "5 s", "fast"})
    EXPECT_THAT(Read(YamlDuration(), text),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         "f.yaml:1: v: '" + std::string(text) +
                             "', expected a duration from 0s to 24h, such as 5s or 2ms"));
}

TEST(YamlBytesTest, ReadsBinaryUnits) {
  const auto type = YamlBytes(1, int64_t{4} << 30);
  EXPECT_THAT(Read(type, "1B"), IsOkAndHolds(1));
  EXPECT_THAT(Read(type, "64KiB"), IsOkAndHolds(65536));
  EXPECT_THAT(Read(type, "256MiB"), IsOkAndHolds(int64_t{256} << 20));
  EXPECT_THAT(Read(type, "4GiB"), IsOkAndHolds(int64_t{4} << 30));
  for (const char* text : {"256", "256MB", "0B", "5GiB", "-1KiB", "1.5GiB", "9223372036854775807GiB", "MiB"})
    EXPECT_THAT(Read(type, text),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         "f.yaml:1: v: '" + std::string(text) + "', expected a size from 1B to 4GiB"));
}

TEST(YamlListTest, ReadsItemsAndNamesTheOneThatIsWrong) {
  EXPECT_THAT(Read(YamlList(YamlNumber()), "[1, 2.5]"), IsOkAndHolds(ElementsAre(1.0f, 2.5f)));
  EXPECT_THAT(Read(YamlList(YamlNumber()), "[1, x]"),
              StatusIs(absl::StatusCode::kInvalidArgument, "f.yaml:1: v[1]: 'x', expected a decimal number"));
  EXPECT_THAT(Read(YamlList(YamlNumber()), "1"),
              StatusIs(absl::StatusCode::kInvalidArgument, "f.yaml:1: v: '1', expected a list"));
}

TEST(YamlNodeTest, MessagesShowALongValueShortened) {
  const auto result = Read(YamlNumber(), std::string(59, 'x') + "\xC3\xA9" + std::string(100, 'y'));
  EXPECT_THAT(result, StatusIs(absl::StatusCode::kInvalidArgument,
                               "f.yaml:1: v: '" + std::string(59, 'x') + "...', expected a decimal number"));
}

TEST(ReadYamlMapTest, ListsTheKeysThatItKnows) {
  const auto root = ParseYaml("a: 1\nz: 2\n", "f.yaml");
  ASSERT_OK(root);
  int64_t a = 0, b = 7;
  EXPECT_THAT(ReadYamlMap(*root, {Into("a", a, YamlInteger(0, 9)), Into("b", b, YamlInteger(0, 9))}),
              StatusIs(absl::StatusCode::kInvalidArgument, "f.yaml:2: z: unknown key, expected one of a, b"));
}

TEST(ReadYamlMapTest, AnAbsentKeyKeepsItsDefault) {
  const auto root = ParseYaml("a: 1\n", "f.yaml");
  ASSERT_OK(root);
  int64_t a = 0, b = 7;
  EXPECT_OK(ReadYamlMap(*root, {Into("a", a, YamlInteger(0, 9)), Into("b", b, YamlInteger(0, 9))}));
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, 7);
}

}  // namespace
}  // namespace hachi::server
