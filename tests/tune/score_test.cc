#include "engine/tune/score.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using ::testing::HasSubstr;

Answer Scores(std::vector<float> scores) {
  const auto count = static_cast<int64_t>(scores.size());
  return {.outputs = {std::move(scores)}, .shapes = {{count}}};
}

// FP32 finds classes 0, 1, 2, 0.
std::vector<Answer> Reference() {
  return {Scores({9, 1, 1, 1, 1, 1}), Scores({1, 9, 1, 1, 1, 1}), Scores({1, 1, 9, 1, 1, 1}),
          Scores({9, 1, 1, 1, 1, 1})};
}

// One row finds class 5 instead of 0, and has 0 last.
std::vector<Answer> OneWrong() {
  auto answers = Reference();
  answers[3] = Scores({0, 1, 2, 3, 4, 9});
  return answers;
}

Scorer MakeScorer(Metric metric, std::vector<int64_t> labels = {}, bool absolute = false) {
  auto scorer = Scorer::Create(metric, Reference(), std::move(labels), absolute);
  EXPECT_OK(scorer);
  return *std::move(scorer);
}

TEST(ScorerTest, FP32LosesNothingByAnyMetric) {
  for (const auto& [metric, name] : kMetricNames) {
    const Scorer scorer = MakeScorer(metric, {0, 1, 2, 0});
    EXPECT_LE(scorer.Of(Reference()).drop, 1e-6) << name;
    EXPECT_EQ(scorer.Of(Reference()).noise, 0) << name;
    EXPECT_GT(scorer.Of(OneWrong()).drop, 0.01) << name;
  }
}

TEST(ScorerTest, LossByLabelsIsRelativeUnlessItIsAskedForAbsolutely) {
  const std::vector<int64_t> labels = {0, 1, 5, 0};  // FP32 has three of four
  EXPECT_DOUBLE_EQ(MakeScorer(Metric::kAccuracy, labels).Of(OneWrong()).value, 0.5);
  EXPECT_DOUBLE_EQ(MakeScorer(Metric::kAccuracy, labels).Of(OneWrong()).drop, 0.25 / 0.75);
  EXPECT_DOUBLE_EQ(MakeScorer(Metric::kAccuracy, labels, /*absolute=*/true).Of(OneWrong()).drop, 0.25);
  EXPECT_DOUBLE_EQ(MakeScorer(Metric::kTop5, labels).Of(OneWrong()).value, 0.75);
}

TEST(ScorerTest, F1IsTheMeanOverTheLabelsClasses) {
  // Class 0: precision 1, recall 1/2; the others are right.
  EXPECT_DOUBLE_EQ(MakeScorer(Metric::kF1, {0, 1, 2, 0}).Of(OneWrong()).value, (2.0 / 3 + 1 + 1) / 3);
}

TEST(ScorerTest, AgreementCountsPlacesWhoseLargestScoreIsTheSame) {
  EXPECT_DOUBLE_EQ(MakeScorer(Metric::kAgreement).Of(OneWrong()).value, 0.75);
}

TEST(ScorerTest, SnrSeesScaleThatCosineDoesNot) {
  auto halved = Reference();
  for (Answer& answer : halved)
    for (float& score : answer.outputs[0]) score /= 2;
  EXPECT_NEAR(MakeScorer(Metric::kCosine).Of(halved).value, 1, 1e-9);
  EXPECT_NEAR(MakeScorer(Metric::kSnr).Of(halved).value, 10 * std::log10(4), 1e-6);
  EXPECT_NEAR(MakeScorer(Metric::kSnr).Of(halved).drop, 0.125, 1e-6);
}

TEST(ScorerTest, AnswersThatAreNoNumbersAreTheWorst) {
  auto broken = Reference();
  broken[0].outputs[0][3] = std::nanf("");
  EXPECT_EQ(MakeScorer(Metric::kSnr).Of(broken).noise, 1e6);
  EXPECT_LT(MakeScorer(Metric::kCosine).Of(broken).value, 0.8);
}

TEST(ScorerTest, OneRowIsWithinEveryBudgetTwoAreNot) {
  const Scorer scorer = MakeScorer(Metric::kAccuracy, {0, 1, 2, 0});
  EXPECT_LE(scorer.Of(OneWrong()).drop, scorer.Budget(0.01));
  auto two_wrong = OneWrong();
  two_wrong[0] = two_wrong[3];
  EXPECT_GT(scorer.Of(two_wrong).drop, scorer.Budget(0.01));
}

TEST(ScorerTest, LabelsThatAreMissingOrNoClassesAreNamed) {
  EXPECT_THAT(Scorer::Create(Metric::kF1, Reference(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("f1 without labels")));
  EXPECT_THAT(Scorer::Create(Metric::kAuto, Reference(), {0, 1, 6, 0}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("row 2 has 6, expected a class")));
  EXPECT_THAT(Scorer::Create(Metric::kAuto, Reference(), {1, 2, 0, 1}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("FP32 has none of them right")));
}

}  // namespace
}  // namespace hachi
