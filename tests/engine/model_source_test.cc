#include <gtest/gtest.h>

#include "engine/engine.h"
#include "tests/engine/demo_model.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

std::unique_ptr<ModelSource> ImportDigits() {
  auto source = ImportModel(DigitsDir() / "model.onnx");
  EXPECT_OK(source);
  return *std::move(source);
}

std::unique_ptr<Model> Compile(const ModelSource& source, const LoadOptions& options) {
  auto model = source.Compile(options);
  EXPECT_OK(model);
  return *std::move(model);
}

// INT8 with one layer decided otherwise.
LoadOptions Fp32StemOptions() {
  LoadOptions options = DigitsOptions(Precision::kInt8);
  options.decisions = "stem.conv precision=fp32\n";
  return options;
}

std::vector<float> RunTestSet(const Model& model, const TestSet& set) {
  return RunRows(model, *NewRunContext(), set.images.bytes().first(32 * 784), 32);
}

TEST(ModelSourceTest, OneImportCompilesToWhatSeparateLoadsGive) {
  const TestSet set = ReadTestSet();
  const auto source = ImportDigits();
  for (const LoadOptions& options :
       {DigitsOptions(Precision::kInt8), DigitsOptions(Precision::kFp32), Fp32StemOptions()}) {
    const auto compiled = Compile(*source, options);
    const auto loaded = LoadModel(options);
    ASSERT_OK(loaded);
    EXPECT_EQ(RunTestSet(*compiled, set), RunTestSet(**loaded, set));
    EXPECT_EQ(compiled->info().decisions, (*loaded)->info().decisions);
  }
}

TEST(ModelSourceTest, CompiledModelsShareWhatIsPackedAlikeForAsLongAsOneHoldsIt) {
  const auto source = ImportDigits();
  auto first = Compile(*source, DigitsOptions(Precision::kInt8));
  const int64_t bytes = first->info().weights_bytes;
  EXPECT_EQ(source->packed_bytes(), bytes);
  auto second = Compile(*source, DigitsOptions(Precision::kInt8));
  EXPECT_EQ(second->info().weights_bytes, bytes);
  EXPECT_EQ(source->packed_bytes(), bytes);
  // Of a model with another stem, the stem alone is packed anew.
  auto other = Compile(*source, Fp32StemOptions());
  EXPECT_GT(source->packed_bytes(), bytes);
  EXPECT_LT(source->packed_bytes(), bytes + other->info().weights_bytes / 2);
  first.reset();
  other.reset();
  EXPECT_EQ(source->packed_bytes(), bytes);
  second.reset();
  EXPECT_EQ(source->packed_bytes(), 0);
}

TEST(ModelSourceTest, CompiledModelOutlivesItsSource) {
  const TestSet set = ReadTestSet();
  auto source = ImportDigits();
  const auto model = Compile(*source, DigitsOptions(Precision::kInt8));
  const std::vector<float> expected = RunTestSet(*model, set);
  source.reset();
  EXPECT_EQ(RunTestSet(*model, set), expected);
}

TEST(ModelSourceTest, FileThatIsNotThereIsNotFound) {
  EXPECT_THAT(ImportModel(TempDir().path() / "model.onnx"), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace hachi
