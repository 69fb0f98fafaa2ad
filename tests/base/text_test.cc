#include "engine/base/text.h"

#include <gtest/gtest.h>

#include <string>

namespace hachi {
namespace {

TEST(TextTest, SequencesOfEveryLengthAreMeasured) {
  EXPECT_EQ(Utf8Length("a"), 1u);
  EXPECT_EQ(Utf8Length("\xC3\xA9!"), 2u);
  EXPECT_EQ(Utf8Length("\xE5\x85\xAB"), 3u);
  EXPECT_EQ(Utf8Length("\xF0\x9F\x8D\x8B"), 4u);
}

TEST(TextTest, MalformedSequencesHaveNoLength) {
  for (const char* bytes : {"\x80", "\xC3", "\xC3\x28", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80",
                            "\xE5\x85", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"})
    EXPECT_EQ(Utf8Length(bytes), 0u) << bytes;
}

TEST(TextTest, ControlCharactersAndMalformedTextAreNotPrintable) {
  EXPECT_TRUE(IsPrintable(""));
  EXPECT_TRUE(IsPrintable("conv1/kernel:0 \xE5\x85\xAB"));
  for (const std::string& text : {std::string("a\nb"), std::string("a\tb"), std::string("a\0b", 3),
                                  std::string("\x7F"), std::string("a\xC3")})
    EXPECT_FALSE(IsPrintable(text)) << text;
}

TEST(TextTest, SharesAreDecimalPercentages) {
  EXPECT_EQ(ParseShare("1%"), 0.01);
  EXPECT_EQ(ParseShare("0.5%"), 0.005);
  EXPECT_EQ(ParseShare("100%"), 1.0);
  for (const char* text : {"", "%", "1", "1 %", "-1%", "101%", "1e1%", "nan%", "1%%"})
    EXPECT_EQ(ParseShare(text), std::nullopt) << text;
}

}  // namespace
}  // namespace hachi
