#include "server/record/copied_row.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>
#include <vector>

namespace hachi::server {
namespace {

using ::testing::ElementsAre;

// Two rows of x [2] and y [1], whose bytes come in pieces; z is not wanted.
class CopiedRowTest : public testing::Test {
 protected:
  std::vector<float> x_ = {1, 2, 3, 4}, y_ = {5, 6};
  const std::span<const std::byte> bytes_ = std::as_bytes(std::span(x_));
  Signature signature_{.inputs = {{"x", DType::kF32, {2}}},
                       .outputs = {{"y", DType::kF32, {1}}, {"z", DType::kF32, {1}}}};
  const Rows request_{.count = 2,
                      .shapes = nullptr,
                      .inputs = {{bytes_.first(5), bytes_.subspan(5, 0), bytes_.subspan(5)}},
                      .outputs = {std::as_writable_bytes(std::span(y_)), {}}};
};

TEST_F(CopiedRowTest, InputsOfOneRowAreOne) {
  const auto inputs = CopyOfInputs(signature_, request_, 1);
  EXPECT_EQ(inputs.at("x").shape(), Shape({1, 2}));
  EXPECT_THAT(inputs.at("x").As<float>(), ElementsAre(3, 4));
}

TEST_F(CopiedRowTest, OutputsThatWereNotWantedAreEmpty) {
  const auto outputs = CopyOfOutputs(signature_, request_, 1);
  EXPECT_EQ(outputs[0].shape(), Shape({1, 1}));
  EXPECT_THAT(outputs[0].As<float>(), ElementsAre(6));
  EXPECT_EQ(outputs[1].count(), 0);
}

TEST_F(CopiedRowTest, WholeTensorsHaveNoRowInFront) {
  signature_.batched = false;
  EXPECT_EQ(CopyOfInputs(signature_, request_, 0).at("x").shape(), Shape({2}));
}

}  // namespace
}  // namespace hachi::server
