#include "engine/shadow/shadow_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ranges>
#include <span>

#include "tests/engine/demo_model.h"

namespace hachi {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Lt;
using ::testing::Pair;

constexpr size_t kPixels = 28 * 28;

// The demo model's shadow and its test set.
class ShadowModelTest : public testing::Test {
 protected:
  void SetUp() override {
    auto shadow = LoadShadow(DigitsOptions(Precision::kInt8));
    ASSERT_OK(shadow);
    shadow_ = *std::move(shadow);
  }

  // Row `i` as a client sends it, each pixel changed.
  std::map<std::string, Tensor> Row(
      size_t i, int (*change)(int) = [](int pixel) { return pixel; }) const {
    Tensor image(DType::kU8, {1, 28, 28, 1});
    const std::span<const std::byte> row = test_.images.bytes().subspan(i * kPixels, kPixels);
    std::ranges::transform(row, image.bytes().begin(), [&](std::byte pixel) {
      return static_cast<std::byte>(std::clamp(change(std::to_integer<int>(pixel)), 0, 255));
    });
    std::map<std::string, Tensor> inputs;
    inputs.emplace("image", std::move(image));
    return inputs;
  }

  std::map<std::string, TensorUse> UsesOf(size_t rows, int (*change)(int)) {
    for (size_t i = 0; i < rows; ++i) EXPECT_OK(shadow_->Run(Row(i, change)));
    const auto int8 = LoadModel(DigitsOptions(Precision::kInt8));
    EXPECT_OK(int8);
    return shadow_->Uses(RangesOf(*(*int8)->Steps(nullptr, 1)));
  }

  const TestSet test_ = ReadTestSet();
  std::unique_ptr<ShadowModel> shadow_;
};

TEST_F(ShadowModelTest, AnswersAreThoseOfTheFp32Model) {
  const auto fp32 = LoadModel(DigitsOptions(Precision::kFp32));
  ASSERT_OK(fp32);
  const auto context = NewRunContext();
  for (size_t i = 0; i < 3; ++i) {
    const auto outputs = shadow_->Run(Row(i));
    ASSERT_OK(outputs);
    EXPECT_EQ((*outputs)[0].shape(), Shape({1, 10}));
    const std::vector<float> expected =
        RunRows(**fp32, *context, test_.images.bytes().subspan(i * kPixels, kPixels), 1);
    for (size_t k = 0; k < 10; ++k) EXPECT_NEAR((*outputs)[0].As<float>()[k], expected[k], 1e-4);
  }
}

TEST_F(ShadowModelTest, RowsLikeTheCalibrationsDoNotDriftAndUseTheirRanges) {
  const auto uses = UsesOf(300, [](int pixel) { return pixel; });
  EXPECT_GT(uses.size(), 10u);
  EXPECT_THAT(shadow_->Drifts(), ElementsAre(Pair("image", Lt(0.1))));
  for (const auto& [name, use] : uses) {
    EXPECT_LT(use.clipped, 0.01) << name;
    EXPECT_THAT(use.used, AllOf(Gt(0.5), Le(1))) << name;
  }
}

TEST_F(ShadowModelTest, OtherImagesDriftAndClipWhatComesBehind) {
  const auto uses = UsesOf(100, [](int pixel) { return 255 - pixel; });
  EXPECT_THAT(shadow_->Drifts(), ElementsAre(Pair("image", Gt(1))));
  const auto clipped = [](const auto& use) { return use.second.clipped; };
  EXPECT_GT(std::ranges::max(uses | std::views::transform(clipped)), 0.001);
}

TEST_F(ShadowModelTest, OldRowsAreForgotten) {
  UsesOf(100, [](int pixel) { return 255 - pixel; });
  UsesOf(512, [](int pixel) { return pixel; });
  EXPECT_THAT(shadow_->Drifts(), ElementsAre(Pair("image", Lt(0.1))));
}

TEST(RangesOfTest, IntegersGoByTheNameOfWhatTheyStandFor) {
  StepFacts step;
  step.inputs = {{"image", DType::kS8, -1, 2}, {"mask", DType::kF32}};
  step.outputs = {{"stem.relu_quantized", DType::kU8, 0, 6}};
  const auto ranges = RangesOf({step});
  EXPECT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges.at("stem.relu").high, 6);
  EXPECT_EQ(ranges.at("image").low, -1);
}

TEST(LoadShadowTest, WhatIsNoModelIsRefused) {
  LoadOptions options = DigitsOptions(Precision::kInt8);
  options.model = DigitsDir() / "nothing.onnx";
  EXPECT_THAT(LoadShadow(options), StatusIs(absl::StatusCode::kNotFound, HasSubstr("nothing.onnx")));
}

}  // namespace
}  // namespace hachi
