#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/cpu/isa.h"
#include "tests/engine/demo_model.h"

namespace hachi {
namespace {

using testing::HasSubstr;
using testing::Not;

std::unique_ptr<Model> Load(const LoadOptions& options) {
  auto model = LoadModel(options);
  EXPECT_OK(model);
  return model.ok() ? *std::move(model) : nullptr;
}

double Accuracy(const Model& model, const TestSet& set) {
  const auto context = NewRunContext();
  const int64_t row_bytes = static_cast<int64_t>(model.signature().inputs[0].row_bytes());
  int64_t correct = 0;
  for (int64_t first = 0; first < set.rows(); first += 32) {
    const int64_t rows = std::min<int64_t>(32, set.rows() - first);
    const auto output =
        RunRows(model, *context, set.images.bytes().subspan(first * row_bytes, rows * row_bytes), rows);
    for (int64_t row = 0; row < rows; ++row) {
      const auto best = std::max_element(output.begin() + row * 10, output.begin() + (row + 1) * 10);
      correct += best - output.begin() - row * 10 == set.labels.As<int64_t>()[first + row];
    }
  }
  return static_cast<double>(correct) / static_cast<double>(set.rows());
}

TEST(EngineTest, Int8LosesAtMostOnePercentOfFp32sAccuracyOnTheTestSet) {
  const TestSet set = ReadTestSet();
  const double fp32 = Accuracy(*Load(DigitsOptions(Precision::kFp32)), set);
  const double int8 = Accuracy(*Load(DigitsOptions(Precision::kInt8)), set);
  EXPECT_GT(fp32, 0.99);
  EXPECT_GE(int8, fp32 * 0.99);
}

TEST(EngineTest, PlanKeepsNoFp32BetweenInt8Steps) {
  const auto model = Load(DigitsOptions(Precision::kInt8));
  const auto text = model->PlanText(8);
  ASSERT_OK(text);
  std::cout << *text;
}

}  // namespace
}  // namespace hachi
