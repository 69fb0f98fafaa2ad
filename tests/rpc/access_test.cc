#include "server/rpc/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/status_matchers.h"

// What a call shows of its caller needs a connection: see tests/e2e/tls_test.py.
namespace hachi::server {
namespace {

using absl::StatusCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(ParseTokensTest, LinesHaveANameAndAToken) {
  EXPECT_THAT(Access::ParseTokens(""), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(Access::ParseTokens("# who\n\nweb  0123456789abcdef\r\nweb fedcba9876543210\n"),
              IsOkAndHolds(ElementsAre(Pair("0123456789abcdef", "web"), Pair("fedcba9876543210", "web"))));
}

TEST(ParseTokensTest, OtherLinesAreNamedWithoutWhatTheySay) {
  for (const std::string& line :
       {std::string("web"), std::string("web 0123456789abcdef more"), std::string("web short"),
        std::string("a 0123456789abcdef\nb 0123456789abcdef")}) {
    const auto tokens = Access::ParseTokens("# who\n" + line);
    EXPECT_THAT(tokens, StatusIs(StatusCode::kInvalidArgument, HasSubstr("line ")));
    EXPECT_EQ(std::string(tokens.status().message()).find("0123456789abcdef"), std::string::npos);
  }
}

}  // namespace
}  // namespace hachi::server
