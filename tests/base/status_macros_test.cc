#include "engine/base/status_macros.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "absl/strings/cord.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using ::testing::Pointee;

absl::Status Pass(const absl::Status& status, bool& went_on) {
  RETURN_IF_ERROR(status);
  went_on = true;
  return absl::OkStatus();
}

TEST(ReturnIfErrorTest, ReturnsErrorsAndGoesOnAfterOk) {
  bool went_on = false;
  EXPECT_THAT(Pass(absl::DataLossError("short"), went_on), StatusIs(absl::StatusCode::kDataLoss, "short"));
  EXPECT_FALSE(went_on);
  EXPECT_OK(Pass(absl::OkStatus(), went_on));
  EXPECT_TRUE(went_on);
}

absl::StatusOr<int> Sum(const absl::StatusOr<int>& a, const absl::StatusOr<int>& b) {
  ASSIGN_OR_RETURN(const int declared, a);
  int assigned = 0;
  ASSIGN_OR_RETURN(assigned, b);
  return declared + assigned;
}

TEST(AssignOrReturnTest, DeclaresAssignsOrReturnsTheError) {
  EXPECT_THAT(Sum(1, 2), IsOkAndHolds(3));
  EXPECT_THAT(Sum(absl::NotFoundError("a"), 2), StatusIs(absl::StatusCode::kNotFound, "a"));
  EXPECT_THAT(Sum(1, absl::InternalError("b")), StatusIs(absl::StatusCode::kInternal, "b"));
}

absl::StatusOr<std::unique_ptr<int>> Hand(absl::StatusOr<std::unique_ptr<int>> from) {
  ASSIGN_OR_RETURN(std::unique_ptr<int> value, std::move(from));
  return value;
}

TEST(AssignOrReturnTest, MovesWhatCannotBeCopied) {
  EXPECT_THAT(Hand(std::make_unique<int>(7)), IsOkAndHolds(Pointee(7)));
}

TEST(WithContextTest, PrefixesTheMessageAndKeepsCodeAndPayloads) {
  absl::Status status = absl::ResourceExhaustedError("full");
  status.SetPayload("test/url", absl::Cord("payload"));
  const absl::Status annotated = WithContext(status, "model 'm'");
  EXPECT_THAT(annotated, StatusIs(absl::StatusCode::kResourceExhausted, "model 'm': full"));
  EXPECT_EQ(annotated.GetPayload("test/url"), absl::Cord("payload"));
}

TEST(WithContextTest, OkStaysOk) { EXPECT_OK(WithContext(absl::OkStatus(), "model 'm'")); }

}  // namespace
}  // namespace hachi
