#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <random>

#include "engine/tune/guard.h"
#include "tests/onnx/model_builder.h"
#include "tests/tune/golden_digits.h"

// Guards of models that are in INT8 without a calibration table.
namespace hachi {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int64_t kRows = 16, kWidth = 32;
constexpr float kHuge = 1e5f;

// A product that INT8 ruins, then one that it does not: element 0 of each row dwarfs the others, and the
// first product's weights for it are 0; or `in_weights`, a weight that dwarfs its column meets an element
// that is 0.
struct TwoProducts {
  TempDir folder;
  LoadOptions options{.name = "two"};
  std::optional<GuardReport> report;

  TwoProducts(Precision precision, bool in_weights) {
    std::mt19937 random(5);
    const auto numbers = [&](int64_t count) {
      std::vector<float> values(static_cast<size_t>(count));
      for (float& value : values) value = static_cast<float>(random() % 1000) * 0.002f - 1;
      return values;
    };
    std::vector<float> first = numbers(kWidth * kWidth), x = numbers(kRows * kWidth);
    for (int64_t i = 0; i < kWidth; ++i) first[static_cast<size_t>(i)] = in_weights ? kHuge : 0;
    for (int64_t row = 0; row < kRows; ++row) x[static_cast<size_t>(row * kWidth)] = in_weights ? 0 : kHuge;
    ModelBuilder builder;
    builder.Input("x", {"N", std::to_string(kWidth)});
    builder.Floats("w1", {kWidth, kWidth}, first);
    builder.Floats("w2", {kWidth, 8}, numbers(kWidth * 8));
    builder.Floats("b1", {kWidth}, numbers(kWidth));
    builder.Node("MatMul", {"x", "w1"}, {"m"}, "first");
    builder.Node("Add", {"m", "b1"}, {"a"}, "bias");
    builder.Node("Relu", {"a"}, {"r"}, "relu");
    builder.Node("MatMul", {"r", "w2"}, {"y"}, "second");
    builder.Output("y");
    Tensor rows(DType::kF32, {kRows, kWidth});
    std::ranges::copy(x, rows.As<float>().begin());
    std::filesystem::create_directories(folder.path() / "golden");
    EXPECT_OK(WriteNpy(folder.path() / "golden/x.npy", rows.view()));
    options.model = folder.Write("model.onnx", builder.Bytes());
    options.precision = precision;
    options.guard.golden = folder.path() / "golden";
    options.on_guard = [this](const GuardReport& found) { report = found; };
  }
};

TEST(GuardTest, ProductThatDynamicQuantizationRuinsIsTakenOut) {
  TwoProducts two(Precision::kInt8Dynamic, /*in_weights=*/false);
  const auto model = LoadGuarded(two.options);
  ASSERT_OK(model);
  ASSERT_TRUE(two.report.has_value());
  EXPECT_EQ(two.report->result, GuardResult::kFellBack);
  EXPECT_THAT(two.report->layers, ElementsAre("first"));
  EXPECT_GT(two.report->drop, 0.01);
  EXPECT_LE(two.report->served_drop, 0.01);
  EXPECT_THAT((*model)->info().decisions,
              AllOf(HasSubstr("origin=guard"), HasSubstr("second precision=int8")));
}

TEST(GuardTest, ProductWhoseWeightsNoByteHoldsIsTakenOut) {
  TwoProducts two(Precision::kInt8Weights, /*in_weights=*/true);
  const auto model = LoadGuarded(two.options);
  ASSERT_OK(model);
  ASSERT_TRUE(two.report.has_value());
  EXPECT_EQ(two.report->result, GuardResult::kFellBack);
  EXPECT_THAT(two.report->layers, ElementsAre("first"));
  EXPECT_LE(two.report->served_drop, 0.01);
}

TEST(GuardTest, PinnedProductsWithoutATableStayAsTheyAre) {
  TwoProducts two(Precision::kInt8Dynamic, /*in_weights=*/false);
  two.options.layers["first"] = Precision::kInt8;
  ASSERT_OK(LoadGuarded(two.options));
  EXPECT_EQ(two.report->result, GuardResult::kFp32);
  EXPECT_THAT(two.report->layers, ElementsAre("second"));
}

TEST(GuardTest, RealNumbersHaveNoGuard) {
  for (const Precision precision : {Precision::kAuto, Precision::kFp32, Precision::kBf16}) {
    TwoProducts two(precision, /*in_weights=*/false);
    ASSERT_OK(LoadGuarded(two.options));
    EXPECT_FALSE(two.report.has_value());
  }
}

TEST(GuardTest, DecisionsOfNoProductAreAnErrorWithoutATable) {
  TwoProducts two(Precision::kInt8Dynamic, /*in_weights=*/false);
  two.options.guard.golden.clear();
  two.options.decisions = "third precision=fp32 origin=pin\n";
  EXPECT_THAT(LoadGuarded(two.options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'third' matches no node")));
}

// The demo trained with fake quantizers, which its file holds.
struct TrainedDigits {
  TempDir folder;
  LoadOptions options{.name = "digits", .model = SourceDir() / "tests/fidelity/trained/digits_qat.onnx"};
  std::optional<GuardReport> report;

  TrainedDigits() {
    options.inputs = DigitsInputs();
    options.guard.golden = WriteGolden(folder, /*labels=*/true);
    options.on_guard = [this](const GuardReport& found) { report = found; };
  }
};

TEST(GuardTest, FileThatIsQuantizedIsComparedWithWhatItSaysInRealNumbers) {
  TrainedDigits digits;
  const auto model = LoadGuarded(digits.options);
  ASSERT_OK(model);
  EXPECT_EQ((*model)->info().precision, Precision::kInt8);
  ASSERT_TRUE(digits.report.has_value());
  EXPECT_EQ(digits.report->result, GuardResult::kPassed);
  EXPECT_EQ(digits.report->metric, Metric::kAccuracy);
}

// Ties are rounded otherwise in integers, here and there.
TEST(GuardTest, LayersOfAFileThatIsQuantizedCanBeTakenOut) {
  TrainedDigits digits;
  digits.options.guard.metric = Metric::kSnr;
  digits.options.guard.max_drop = 0;
  const auto model = LoadGuarded(digits.options);
  ASSERT_OK(model);
  EXPECT_GT(digits.report->drop, 0);
  EXPECT_LT(digits.report->served_drop, digits.report->drop);
  EXPECT_THAT(digits.report->layers, Not(IsEmpty()));
}

}  // namespace
}  // namespace hachi
