#include "engine/calibrate/calibrate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <limits>

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

TEST(CalibrateTest, RowsBeforeAndBehindAStopMergeToTheWhole) {
  TempDir dir;
  WriteRows(dir.path() / "a.npy", 0, 7);
  WriteRows(dir.path() / "b.npy", 7, 30);
  CalibrateOptions options = Digits(dir.path());
  const auto whole = Calibrate(options);
  ASSERT_OK(whole);
  int64_t last_rows = 0;
  options.progress = [&](const CalibrateOptions::Progress& progress) {
    EXPECT_EQ(progress.samples, 2u);
    EXPECT_EQ(progress.sample, progress.rows <= 7 ? 1u : 2u);
    last_rows = progress.rows;
  };
  options.stop = [&] { return last_rows >= 10; };
  auto part = CalibrateUntil(options);
  ASSERT_OK(part);
  EXPECT_THAT(part->status, StatusIs(absl::StatusCode::kCancelled, HasSubstr("15 rows")));
  EXPECT_EQ(part->table.header().samples, 15);
  EXPECT_THAT(Calibrate(options), StatusIs(absl::StatusCode::kCancelled));

  options.stop = nullptr;
  options.progress = nullptr;
  options.first_row = 15;
  options.max_rows = 20;
  const auto middle = Calibrate(options);
  options.first_row = 35;
  const auto end = Calibrate(options);
  ASSERT_OK(middle);
  ASSERT_OK(end);
  EXPECT_EQ(middle->header().samples, 20);
  EXPECT_EQ(end->header().samples, 2);
  ASSERT_OK(part->table.Merge(*middle));
  ASSERT_OK(part->table.Merge(*end));
  EXPECT_EQ(part->table.header().samples, 37);
  ASSERT_EQ(part->table.tensors().size(), whole->tensors().size());
  for (const auto& [name, entry] : whole->tensors())
    EXPECT_TRUE(part->table.tensors().at(name).stats.SameButForMeans(entry.stats)) << name;

  options.first_row = 37;
  EXPECT_THAT(Calibrate(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("37 rows, expected more than the 37")));
}

TEST(CalibrateTest, SampleThatIsNotANumberIsNamedAndTheRowsBeforeItCount) {
  TempDir dir;
  Tensor rows(DType::kF32, {3, 1, 28, 28});
  ASSERT_OK(WriteNpy(dir.path() / "a.npy", rows.view()));
  std::ranges::fill(rows.As<float>().subspan(2 * 28 * 28), std::numeric_limits<float>::quiet_NaN());
  ASSERT_OK(WriteNpy(dir.path() / "b.npy", rows.view()));
  const auto calibration = CalibrateUntil(Digits(dir.path()));
  ASSERT_OK(calibration);
  EXPECT_THAT(
      calibration->status,
      StatusIs(absl::StatusCode::kInvalidArgument,
               testing::AllOf(HasSubstr("b.npy"), HasSubstr("input 'image': row 2 holds no number"))));
  EXPECT_EQ(calibration->table.header().samples, 3);
  EXPECT_THAT(Calibrate(Digits(dir.path())), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(CalibrateTest, HalfAndDoubleSamplesAreCheckedForNumbers) {
  const std::pair<onnx::TensorProto::DataType, Tensor> kinds[] = {
      {onnx::TensorProto::FLOAT16, Tensor(DType::kF16, {1, 1})},
      {onnx::TensorProto::DOUBLE, Tensor(DType::kF64, {1, 1})}};
  for (const auto& [type, zeros] : kinds) {
    ModelBuilder builder;
    builder.Input("x", {"N", "1"}, type);
    builder.Output("y");
    builder.proto.mutable_graph()->mutable_output(0)->mutable_type()->mutable_tensor_type()->set_elem_type(
        type);
    builder.Node("Relu", {"x"}, {"y"});
    TempDir model, data;
    ASSERT_OK(WriteNpy(data.path() / "x.npy", zeros.view()));
    const CalibrateOptions options = {.model = model.Write("model.onnx", builder.Bytes()),
                                      .data = data.path()};
    EXPECT_OK(Calibrate(options));
    std::string bytes = NpyBytes(zeros.view());
    bytes[bytes.size() - 1] = '\x7f';  // the element's sign and exponent, and what follows it
    bytes[bytes.size() - 2] = '\xff';
    data.Write("x.npy", bytes);
    EXPECT_THAT(Calibrate(options),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("row 0 holds no number")));
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
