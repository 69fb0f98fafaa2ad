#include "engine/tensor/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "engine/tensor/layout.h"
#include "engine/tensor/quant_params.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

TEST(LayoutTest, ChannelsLastStridesPutChannelsInnermost) {
  const Shape shape{2, 3, 4, 5};
  EXPECT_EQ(Layout::ChannelsLast(4).StridesOf(shape), (std::vector<int64_t>{60, 1, 15, 3}));
}

TEST(LayoutTest, OnePixelTensorsLieTheSameWayInBothLayouts) {
  EXPECT_TRUE(Layout().SameBytes(Layout::ChannelsLast(4), Shape{2, 64, 1, 1}));
  EXPECT_FALSE(Layout().SameBytes(Layout::ChannelsLast(4), Shape{2, 64, 1, 2}));
}

TEST(ShapeTest, CountThatOverflowsIsRefused) {
  const Shape shape{int64_t{1} << 40, int64_t{1} << 40};
  EXPECT_THAT(CheckedCount(shape, 1), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ShapeTest, ZeroBesideHugeDimensionsCountsZeroButIsRefusedFromOutside) {
  const Shape shape{int64_t{1} << 62, int64_t{1} << 62, 0};
  EXPECT_EQ(CountOf(shape), 0);  // without the overflow that the sanitizer would see
  EXPECT_THAT(CheckedCount(shape, 8), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(CheckedCount(Shape{0, int64_t{1} << 59, 8}, 8), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(CheckedCount(Shape{7, 0, 9}, 8), IsOkAndHolds(0));
}

TEST(QuantParamsTest, TiesRoundToEven) {
  EXPECT_EQ(QuantizeValue<uint8_t>(0.5f, 1.0f, 0), 0);
  EXPECT_EQ(QuantizeValue<uint8_t>(1.5f, 1.0f, 0), 2);
  EXPECT_EQ(QuantizeValue<int8_t>(-2.5f, 1.0f, 0), -2);
}

TEST(QuantParamsTest, OutOfRangeSaturatesAndNanIsTheZeroPoint) {
  EXPECT_EQ(QuantizeValue<uint8_t>(1e30f, 1.0f, 3), 255);
  EXPECT_EQ(QuantizeValue<int8_t>(-1e30f, 1.0f, 0), -128);
  EXPECT_EQ(QuantizeValue<uint8_t>(std::nanf(""), 1.0f, 3), 3);
  EXPECT_EQ(QuantizeValue<uint8_t>(0.0f, 0.0f, 3), 3);
}

TEST(ShapeTest, ShapesThatCannotBeCountedInAreRefused) {
  EXPECT_OK(CheckShape(Shape{}, 4));
  EXPECT_OK(CheckShape(Shape{0, 3, kMaxDim}, 4));
  EXPECT_THAT(CheckShape(Shape{2, -1}, 4),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("[2,-1]")));
  EXPECT_THAT(CheckShape(Shape{kMaxDim + 1}, 1), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(CheckShape(Shape{1 << 20, 1 << 20, 1 << 20}, 8),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(CheckShape(Shape{0, kMaxDim, kMaxDim, kMaxDim}, 8),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(CountOf(Shape{int64_t{1} << 40, int64_t{1} << 40}), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(CountOf(Shape{int64_t{1} << 40, int64_t{1} << 40, 0}), 0);
}

}  // namespace
}  // namespace hachi
