#include "engine/calibrate/calibrate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "engine/samples/tensor_file.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using testing::HasSubstr;

const std::filesystem::path kSource = HACHI_SOURCE_DIR;
const std::filesystem::path kModel = kSource / "deploy/models/digits/1/model.onnx";
const std::filesystem::path kSamples = kSource / "tests/demo/calibration";

CalibrateOptions Digits(const std::filesystem::path& data) {
  return {.model = kModel,
          .data = data,
          .inputs = {{"image",
                      {.dtype = DType::kU8, .channels_last = true, .mean = {33.3f}, .scale = {0.0127f}}}},
          .data_tag = "digits",
          .tool_version = "test"};
}

// Rows [first, first + count) of the demo's samples as a file of their own.
void WriteRows(const std::filesystem::path& file, int64_t first, int64_t count) {
  const auto all = ReadTensorFile(kSamples / "images.npy");
  ASSERT_OK(all);
  const auto bytes =
      all->bytes().subspan(static_cast<size_t>(first) * 28 * 28, static_cast<size_t>(count) * 28 * 28);
  const Shape shape = {count, 28, 28, 1};
  ASSERT_OK(WriteNpy(file, {DType::kU8, shape, bytes.data()}));
}

TEST(CalibrateTest, EveryComputedTensorHasItsLine) {
  TempDir dir;
  WriteRows(dir.path() / "a.npy", 0, 3);
  const auto table = Calibrate(Digits(dir.path()));
  ASSERT_OK(table);
  EXPECT_EQ(table->header().samples, 3);
  for (const char* tensor : {"image", "stem.bn", "stem.relu", "block1.add", "flatten", "probabilities"})
    EXPECT_TRUE(table->tensors().contains(tensor)) << tensor;
  EXPECT_EQ(table->tensors().at("image").stats.count(), 3 * 28 * 28);
  EXPECT_NEAR(table->tensors().at("image").stats.max(), (255 - 33.3) * 0.0127, 1e-5);
  EXPECT_EQ(table->tensors().at("stem.bn").stats.channels(), 16);
}

TEST(CalibrateTest, MergedShardsEqualTheWhole) {
  TempDir whole, first, second;
  WriteRows(whole.path() / "a.npy", 0, 60);
  for (const auto& [cut, rows] : {std::pair{1, 60}, std::pair{23, 60}}) {
    WriteRows(first.path() / "a.npy", 0, cut);
    WriteRows(second.path() / "a.npy", cut, rows - cut);
    auto all = Calibrate(Digits(whole.path())), merged = Calibrate(Digits(first.path())),
         rest = Calibrate(Digits(second.path()));
    ASSERT_OK(all);
    ASSERT_OK(merged);
    ASSERT_OK(rest);
    ASSERT_OK(merged->Merge(*rest));
    EXPECT_EQ(merged->header().samples, all->header().samples);
    ASSERT_EQ(merged->tensors().size(), all->tensors().size());
    for (const auto& [name, entry] : all->tensors())
      EXPECT_TRUE(merged->tensors().at(name).stats.SameButForMeans(entry.stats)) << name << " cut at " << cut;
  }
}

TEST(CalibrateTest, SamplesMayBeWhatTheModelTakes) {
  TempDir dir;
  const Shape shape = {2, 1, 28, 28};
  const Tensor rows(DType::kF32, shape);
  ASSERT_OK(WriteNpy(dir.path() / "a.npy", rows.view()));
  const auto table = Calibrate(Digits(dir.path()));
  ASSERT_OK(table);
  EXPECT_EQ(table->tensors().at("image").stats.max(), 0.0f);
}

TEST(CalibrateTest, SampleThatDoesNotFitIsNamed) {
  TempDir dir;
  const Shape shape = {2, 28, 27, 1};
  ASSERT_OK(WriteNpy(dir.path() / "narrow.npy", Tensor(DType::kU8, shape).view()));
  EXPECT_THAT(Calibrate(Digits(dir.path())),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       testing::AllOf(HasSubstr("narrow.npy"), HasSubstr("u8[2,28,27,1]"),
                                      HasSubstr("u8[28,28,1]"))));
}

TEST(CalibrateTest, MissingDataAndUnknownInputsAreErrors) {
  TempDir dir;
  EXPECT_THAT(Calibrate(Digits(dir.path() / "nowhere")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Calibrate(Digits(dir.path())), StatusIs(absl::StatusCode::kInvalidArgument));
  CalibrateOptions options = Digits(kSamples);
  options.inputs["picture"] = {};
  EXPECT_THAT(Calibrate(options), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'picture'")));
}

TEST(CalibrateTest, SamplesMayDecideWhichBranchTheModelTakes) {
  ModelBuilder builder;
  builder.Input("x", {"A", "B"});
  builder.Output("y");
  builder.Int64s("two", {2});
  SetInt(builder.Node("Shape", {"x"}, {"columns"}), "start", 1);
  builder.Node("Equal", {"columns", "two"}, {"c"});
  auto* node = builder.Node("If", {"c"}, {"y"}, "if");
  AddBranch(node, "then_branch", "Relu", "Relu");
  AddBranch(node, "else_branch", "Neg", "Neg");
  TempDir model, data;
  for (const int64_t columns : {2, 3}) {
    const Tensor x(DType::kF32, {1, columns});
    ASSERT_OK(WriteNpy(data.path() / (std::to_string(columns) + ".npy"), x.view()));
  }
  const auto table = Calibrate({.model = model.Write("model.onnx", builder.Bytes()), .data = data.path()});
  ASSERT_OK(table);
  EXPECT_EQ(table->header().samples, 2);
  EXPECT_EQ(table->tensors().at("x").stats.count(), 5);
  EXPECT_EQ(table->tensors().at("Relu").stats.count(), 2);
  EXPECT_EQ(table->tensors().at("Neg").stats.count(), 3);
}

}  // namespace
}  // namespace hachi
