#include "engine/decide/decisions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using ::testing::HasSubstr;

constexpr char kText[] =
    "conv1 precision=int8 range=mse kernel=hachi_depthwise origin=pin\n"
    "conv2 precision=fp32 origin=table_comment\n"
    "fc precision=int8 range=auto origin=default\n";

TEST(DecisionsTest, PrintedTextParsesToTheSameText) {
  const auto decisions = Decisions::Parse(kText);
  ASSERT_OK(decisions);
  EXPECT_EQ(decisions->ToText(), kText);
  const Decision& conv1 = *decisions->Find("conv1");
  EXPECT_EQ(conv1.precision, Precision::kInt8);
  EXPECT_EQ(conv1.range, RangeMethod::kMse);
  EXPECT_EQ(conv1.kernel, "hachi_depthwise");
  EXPECT_EQ(conv1.origin, Origin::kPin);
  EXPECT_EQ(decisions->Find("other"), nullptr);
}

TEST(DecisionsTest, WhatIsNotWrittenSoNamesItsLine) {
  for (const auto& [text, message] :
       {std::pair{"a precision=int8\nb precision=int4\n",
                  "line 2: precision: 'int4', expected int8, bf16 or fp32"},
        {"a colour=red\n", "line 1: 'colour', expected precision, range, kernel or origin"},
        {"a range=all\n", "'all', expected auto, min_max"},
        {"a origin=whim\n", "expected pin, table_comment, tune, guard or default"},
        {"a kernel=\n", "expected the name of a kernel"},
        {"a\na\n", "line 2: node 'a', expected each node's name once"}}) {
    EXPECT_THAT(Decisions::Parse(text), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)))
        << text;
  }
}

}  // namespace
}  // namespace hachi
