#include "engine/decide/tuned.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using ::testing::HasSubstr;

TunedDecisions Example() {
  TunedDecisions tuned{.model_sha256 = std::string(64, 'a'),
                       .range = RangeMethod::kMse,
                       .repairs = {.equalization = true, .bias_correction = false}};
  tuned.decisions.Set("conv1", {.precision = Precision::kFp32, .origin = Origin::kTune});
  tuned.remarks = "# for people\n";
  return tuned;
}

TEST(TunedDecisionsTest, PrintedTextParsesToTheSameText) {
  TunedDecisions tuned = Example();
  const std::string text = tuned.ToText();
  const auto parsed = TunedDecisions::Parse(text);
  ASSERT_OK(parsed);
  EXPECT_EQ("# for people\n" + parsed->ToText(), text);
}

TEST(TunedDecisionsTest, FileForAnotherModelIsRefused) {
  const TempDir folder;
  const auto file = folder.Write("decisions.txt", Example().ToText());
  EXPECT_OK(TunedDecisions::ReadFor(file, std::string(64, 'a')));
  EXPECT_THAT(
      TunedDecisions::ReadFor(file, std::string(64, 'b')),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("tuned for the model with SHA-256 aaa")));
}

TEST(TunedDecisionsTest, PartOfAFileIsRefused) {
  const std::string text = Example().ToText();
  for (size_t length = 0; length < text.size() - 1; length += 7)
    EXPECT_THAT(TunedDecisions::Parse(text.substr(0, length)), ::testing::Not(IsOk())) << length;
  EXPECT_THAT(TunedDecisions::Parse("hachi_decisions 2\n"), StatusIs(absl::StatusCode::kUnimplemented));
}

TEST(TakeAdviceTest, PinsAndStrongerOriginsStay) {
  const auto one = [](Precision precision, Origin origin) {
    Decisions decisions;
    decisions.Set("conv", {.precision = precision, .origin = origin});
    return decisions;
  };
  const Decisions tune = one(Precision::kFp32, Origin::kTune);
  Decisions none, guard = one(Precision::kBf16, Origin::kGuard),
                  asked = one(Precision::kInt8, Origin::kDefault);
  TakeAdvice(tune, {{"co*", Precision::kInt8}}, none);
  EXPECT_EQ(none.Find("conv"), nullptr);
  TakeAdvice(tune, {}, guard);
  EXPECT_EQ(guard.Find("conv")->origin, Origin::kTune);
  TakeAdvice(tune, {}, asked);
  EXPECT_EQ(asked.Find("conv")->origin, Origin::kDefault);
}

}  // namespace
}  // namespace hachi
