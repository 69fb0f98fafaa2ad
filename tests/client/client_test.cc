#include "server/client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <memory>

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

TEST(ClientTest, MayGoWhileItsLastAnswerIsBeingHandled) {
  auto client = *Client::Create({.address = "unix:/nonexistent/socket"});
  std::promise<void> answered, gone;
  const std::future<void> is_gone = gone.get_future();
  client->InferAsync(Encode({.model = "m"}), absl::Seconds(10), [&](const absl::StatusOr<InferAnswer>&) {
    answered.set_value();
    // Long enough for the client to go, or to wait for this to end.
    is_gone.wait_for(std::chrono::milliseconds(50));
  });
  answered.get_future().wait();
  client = nullptr;
  gone.set_value();
}

}  // namespace
}  // namespace hachi::server
