#include "server/status/html.h"

#include <gtest/gtest.h>

#include "server/status/chart.h"

namespace hachi::server {
namespace {

TEST(EscapedTest, MarkupIsText) {
  EXPECT_EQ(Escaped("<a href=\"x\">'&'</a>"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
  EXPECT_EQ(Escaped("digits, 八"), "digits, 八");
}

TEST(EscapedTest, WhatIsNoTextIsReplaced) {
  EXPECT_EQ(Escaped(std::string_view("a\0b", 3)), "a\uFFFDb");
  EXPECT_EQ(Escaped("\xC0<\xFF"), "\uFFFD&lt;\uFFFD");
}

TEST(BarChartTest, TheHighestBarIsAsHighAsThePictureAndTitlesAreText) {
  const std::vector<Bar> bars = {{"<1>", 5}, {"2", 10}, {"3", 0}};
  const std::string svg = BarChart(bars, "a \"label\"");
  EXPECT_NE(svg.find("aria-label=\"a &quot;label&quot;\""), std::string::npos);
  EXPECT_NE(svg.find("<title>&lt;1&gt;</title><rect x=\"1\" y=\"20.00\" width=\"8\" height=\"20.00\"/>"),
            std::string::npos);
  EXPECT_NE(svg.find("y=\"0.00\" width=\"8\" height=\"40.00\""), std::string::npos);
  EXPECT_NE(svg.find("y=\"40.00\" width=\"8\" height=\"0.00\""), std::string::npos);
}

TEST(MeterTest, APartIsSoWideAndNoMoreThanTheWhole) {
  EXPECT_NE(Meter(0.25, "a quarter").find("<rect width=\"25.00\""), std::string::npos);
  EXPECT_NE(Meter(7, "too much").find("<rect width=\"100.00\""), std::string::npos);
}

}  // namespace
}  // namespace hachi::server
