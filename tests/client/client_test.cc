#include "server/client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/status_matchers.h"

namespace hachi::server {
namespace {

using ::testing::HasSubstr;

TEST(ClientTest, OptionsOutOfRangeAreRefused) {
  EXPECT_THAT(Client::Create({.address = ""}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("expected host:port")));
  EXPECT_THAT(Client::Create({.address = "localhost:1", .connections = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("connections: is 0")));
}

TEST(ClientTest, NobodyListeningIsUnavailable) {
  const auto client = Client::Create({.address = "unix:/nonexistent/socket"});
  ASSERT_OK(client);
  EXPECT_THAT((*client)->Infer(Encode({.model = "m"}), absl::Seconds(10)),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST(ClientTest, DescribeWaitsForAServerUntilItsDeadline) {
  const auto client = Client::Create({.address = "unix:/nonexistent/socket"});
  ASSERT_OK(client);
  EXPECT_THAT((*client)->Describe("m", "", absl::Milliseconds(50)),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

}  // namespace
}  // namespace hachi::server
