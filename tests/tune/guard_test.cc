#include "engine/tune/guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/tune/golden_digits.h"

namespace hachi {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// The demo model in INT8 with golden samples beside it, and what its guard reports.
struct Guarded {
  TempDir folder;
  LoadOptions options = DigitsOptions(Precision::kInt8);
  std::optional<GuardReport> report;

  explicit Guarded(bool labels = false) {
    options.guard.golden = WriteGolden(folder, labels);
    options.on_guard = [this](const GuardReport& found) { report = found; };
  }

  void Poison(const std::string& tensor, float factor) {
    options.table = WritePoisonedTable(folder, tensor, factor);
  }

  std::unique_ptr<Model> Load() {
    auto model = LoadGuarded(options);
    EXPECT_OK(model);
    EXPECT_TRUE(report.has_value());
    return *std::move(model);
  }
};

TEST(GuardTest, GoodTablePassesAndNothingChanges) {
  Guarded guarded;
  const auto model = guarded.Load();
  EXPECT_EQ(guarded.report->result, GuardResult::kPassed);
  EXPECT_THAT(guarded.report->layers, IsEmpty());
  const auto plain = LoadModel(guarded.options);
  ASSERT_OK(plain);
  EXPECT_EQ(model->info().decisions, (*plain)->info().decisions);
}

TEST(GuardTest, WithoutGoldenSamplesThereIsNoGuard) {
  LoadOptions options = DigitsOptions(Precision::kInt8);
  options.on_guard = [](const GuardReport&) { FAIL(); };
  EXPECT_OK(LoadGuarded(options));
}

TEST(GuardTest, PoisonedRangeIsNamed) {
  for (const auto& [tensor, reader] :
       {std::pair{"block2.first.relu", "block2.second.conv"}, {"bottleneck.bn", "block3.expand.conv"}}) {
    Guarded guarded;
    guarded.Poison(tensor, 0.1f);
    const auto model = guarded.Load();
    EXPECT_EQ(guarded.report->result, GuardResult::kFellBack);
    EXPECT_THAT(guarded.report->layers, ElementsAre(reader));
    EXPECT_GT(guarded.report->drop, 0.01);
    EXPECT_LE(guarded.report->served_drop, 0.01);
    EXPECT_THAT(model->info().decisions, HasSubstr("origin=guard"));
  }
}

// Ten times too wide costs the demo little, whose probabilities are nearly 0 or 1.
TEST(GuardTest, RangeThatIsTooWideIsNamedWhereTheBudgetIsWhatAGoodTableLoses) {
  Guarded good;
  good.Load();
  for (const auto& [tensor, reader] :
       {std::pair{"block2.first.relu", "block2.second.conv"}, {"bottleneck.bn", "block3.expand.conv"}}) {
    Guarded guarded;
    guarded.Poison(tensor, 10);
    guarded.options.guard.max_drop = 1.5 * good.report->drop;
    guarded.Load();
    EXPECT_EQ(guarded.report->result, GuardResult::kFellBack)
        << good.report->drop << " and " << guarded.report->drop;
    EXPECT_THAT(guarded.report->layers, Contains(reader));
  }
}

// Its values are real numbers only where none of its readers, nor what made it in integers, wants them.
TEST(GuardTest, PoisonedRangeWithTwoReadersIsFound) {
  Guarded guarded;
  guarded.Poison("block1.add", 0.1f);
  guarded.Load();
  EXPECT_EQ(guarded.report->result, GuardResult::kFellBack);
  EXPECT_THAT(guarded.report->layers, Contains("block2.first.conv"));
  EXPECT_LE(guarded.report->served_drop, 0.01);
}

TEST(GuardTest, ByLabelsAccuracyIsMeasured) {
  Guarded guarded(/*labels=*/true);
  guarded.Poison("bottleneck.bn", 0.02f);
  guarded.Load();
  EXPECT_EQ(guarded.report->metric, Metric::kAccuracy);
  EXPECT_EQ(guarded.report->result, GuardResult::kFellBack);
  EXPECT_THAT(guarded.report->layers, ElementsAre("block3.expand.conv"));
}

TEST(GuardTest, RefusedLoadNamesLayerAndLoss) {
  Guarded guarded;
  guarded.Poison("bottleneck.bn", 0.1f);
  guarded.options.guard.on_failure = OnGuardFailure::kRefuse;
  EXPECT_THAT(LoadGuarded(guarded.options),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("'block3.expand.conv'"), HasSubstr("expected at most 1.00 %"))));
  EXPECT_EQ(guarded.report->result, GuardResult::kRefused);
}

TEST(GuardTest, Fp32IsServedWhereThatIsWanted) {
  Guarded guarded;
  guarded.Poison("bottleneck.bn", 0.1f);
  guarded.options.guard.on_failure = OnGuardFailure::kFp32;
  EXPECT_EQ(guarded.Load()->info().precision, Precision::kFp32);
  EXPECT_EQ(guarded.report->result, GuardResult::kFp32);
  EXPECT_THAT(guarded.report->layers, ElementsAre("block3.expand.conv"));
}

TEST(GuardTest, WithoutTimeWholeGroupsAreTakenOut) {
  Guarded guarded;
  guarded.Poison("bottleneck.bn", 0.1f);
  guarded.options.guard.time = absl::ZeroDuration();
  guarded.Load();
  EXPECT_EQ(guarded.report->result, GuardResult::kFellBack);
  EXPECT_GT(guarded.report->layers.size(), 1u);
  EXPECT_LE(guarded.report->served_drop, 0.01);
}

TEST(GuardTest, PinnedLayersStayAsTheyAre) {
  Guarded guarded;
  guarded.Poison("bottleneck.bn", 0.1f);
  guarded.options.layers["block3.expand.conv"] = Precision::kInt8;
  const auto model = guarded.Load();
  EXPECT_THAT(guarded.report->layers, Not(Contains("block3.expand.conv")));
  EXPECT_THAT(model->info().precision == Precision::kFp32 ? "" : model->info().decisions,
              Not(HasSubstr("block3.expand.conv precision=fp32")));
}

TEST(GuardTest, SamplesMayBeAsTheModelTakesThem) {
  Guarded guarded;
  const TestSet set = ReadTestSet();
  Tensor images(DType::kF32, {kGoldenRows, 1, 28, 28});
  for (size_t i = 0; i < images.As<float>().size(); ++i)
    images.As<float>()[i] = (static_cast<float>(set.images.As<uint8_t>()[i]) - 33.3f) * 0.0127f;
  ASSERT_OK(WriteNpy(guarded.options.guard.golden / "images.npy", images.view()));
  guarded.Load();
  EXPECT_EQ(guarded.report->result, GuardResult::kPassed);
}

TEST(GuardTest, SamplesAndLabelsThatDoNotFitAreNamed) {
  Guarded guarded;
  guarded.folder.Write("golden/labels.txt", "1\n2\n");
  EXPECT_THAT(LoadGuarded(guarded.options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("labels: 2 of them, expected 64")));
  guarded.folder.Write("golden/labels.txt", "1\ntwo\n");
  EXPECT_THAT(LoadGuarded(guarded.options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 2 is 'two'")));
  std::filesystem::remove(guarded.folder.path() / "golden/labels.txt");
  ASSERT_OK(WriteNpy(guarded.options.guard.golden / "images.npy", Tensor(DType::kF32, {3, 3}).view()));
  EXPECT_THAT(LoadGuarded(guarded.options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("images.npy"), HasSubstr("expected u8[28,28,1] or rows of it"))));
}

}  // namespace
}  // namespace hachi
