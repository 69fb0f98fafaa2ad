#include "engine/samples/sample_set.h"

#include <gtest/gtest.h>
#include <onnx/onnx_pb.h>

#include "engine/samples/tensor_file.h"
#include "tests/samples/zip_writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

std::string Array(float value) { return NpyBytes(Tensor::Of<float>({1}, {value}).view()); }

std::string Proto(float value) {
  onnx::TensorProto proto;
  proto.set_data_type(onnx::TensorProto::FLOAT);
  proto.add_dims(1);
  proto.add_float_data(value);
  return proto.SerializeAsString();
}

class SampleSetTest : public testing::Test {
 protected:
  TempDir directory_;
};

TEST_F(SampleSetTest, FilesOfAFolderAreSamplesInTheOrderOfTheirNames) {
  directory_.Write("b.npy", Array(2));
  directory_.Write("a.npy", Array(1));
  directory_.Write("c.pb", Proto(3));
  directory_.Write("labels.txt", "skipped");
  const auto set = SampleSet::Open(directory_.path(), {"x"});
  ASSERT_OK(set);
  ASSERT_EQ(set->size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const auto sample = set->Read(i);
    ASSERT_OK(sample);
    EXPECT_THAT(sample->at("x").As<float>(), ElementsAre(static_cast<float>(i + 1)));
  }
  EXPECT_EQ(set->PathOf(1).filename(), "b.npy");
}

TEST_F(SampleSetTest, ArchivesHoldOneArrayAnInputByNameOrNumber) {
  WriteZip(directory_.path() / "0.npz", {{"x.npy", Array(1)}, {"y.npy", Array(2)}, {"label.npy", Array(3)}});
  WriteZip(directory_.path() / "1.npz", {{"arr_0.npy", Array(4)}, {"arr_1.npy", Array(5)}});
  WriteZip(directory_.path() / "2.npz", {{"x.npy", Array(6)}});
  const auto set = SampleSet::Open(directory_.path(), {"x", "y"});
  ASSERT_OK(set);
  const auto named = set->Read(0), numbered = set->Read(1);
  ASSERT_OK(named);
  ASSERT_OK(numbered);
  EXPECT_EQ(named->size(), 2u);
  EXPECT_THAT(named->at("y").As<float>(), ElementsAre(2));
  EXPECT_THAT(numbered->at("x").As<float>(), ElementsAre(4));
  EXPECT_THAT(set->Read(2), StatusIs(StatusCode::kInvalidArgument, HasSubstr("no array for input 'y'")));
}

TEST_F(SampleSetTest, OneFileIsOneSample) {
  const auto set = SampleSet::Open(directory_.Write("only.npy", Array(1)), {"x"});
  ASSERT_OK(set);
  EXPECT_EQ(set->size(), 1u);
  EXPECT_OK(set->Read(0));
}

TEST_F(SampleSetTest, OnnxTestDataIsASampleASet) {
  directory_.Write("test_data_set_0/input_0.pb", Proto(1));
  directory_.Write("test_data_set_0/input_1.pb", Proto(2));
  directory_.Write("test_data_set_0/output_0.pb", "not read");
  directory_.Write("test_data_set_1/input_0.pb", Proto(3));
  directory_.Write("model.onnx", "not read");
  const auto set = SampleSet::Open(directory_.path(), {"x", "y"});
  ASSERT_OK(set);
  ASSERT_EQ(set->size(), 2u);
  const auto sample = set->Read(0);
  ASSERT_OK(sample);
  EXPECT_THAT(sample->at("y").As<float>(), ElementsAre(2));
  EXPECT_THAT(set->Read(1), StatusIs(StatusCode::kInvalidArgument, HasSubstr("no file for input 'y'")));

  const auto one = SampleSet::Open(directory_.path() / "test_data_set_0", {"x"});
  ASSERT_OK(one);
  ASSERT_EQ(one->size(), 1u);
  EXPECT_THAT(one->Read(0), StatusIs(StatusCode::kInvalidArgument, HasSubstr("the model has 1 inputs")));
}

TEST_F(SampleSetTest, SingleTensorsDoNotFitModelsOfSeveralInputs) {
  const auto set = SampleSet::Open(directory_.Write("only.npy", Array(1)), {"x", "y"});
  ASSERT_OK(set);
  EXPECT_THAT(set->Read(0), StatusIs(StatusCode::kInvalidArgument, HasSubstr("2 inputs, expected an .npz")));
}

TEST_F(SampleSetTest, FoldersWithoutSamplesAreRefused) {
  EXPECT_THAT(SampleSet::Open(directory_.path() / "none", {"x"}), StatusIs(StatusCode::kNotFound));
  directory_.Write("readme.txt", "nothing here");
  EXPECT_THAT(SampleSet::Open(directory_.path(), {"x"}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("none found")));
}

TEST_F(SampleSetTest, FoldersOfClassesAreOneSet) {
  directory_.Write("dog/a.npy", Array(3));
  directory_.Write("cat/b.npy", Array(2));
  directory_.Write("cat/a.npy", Array(1));
  directory_.Write("cat/more/z.txt", "skipped");
  directory_.Write("readme.txt", "skipped");
  const auto set = SampleSet::Open(directory_.path(), {"x"});
  ASSERT_OK(set);
  ASSERT_EQ(set->size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const auto sample = set->Read(i);
    ASSERT_OK(sample);
    EXPECT_THAT(sample->at("x").As<float>(), ElementsAre(static_cast<float>(i + 1)));
  }
  // Samples of its own are all that a folder means.
  directory_.Write("own.npy", Array(9));
  const auto own = SampleSet::Open(directory_.path(), {"x"});
  ASSERT_OK(own);
  EXPECT_EQ(own->size(), 1u);
}

TEST_F(SampleSetTest, DamagedFilesAreNamed) {
  const auto set = SampleSet::Open(directory_.Write("bad.npy", "x"), {"x"});
  ASSERT_OK(set);
  EXPECT_THAT(set->Read(0), StatusIs(StatusCode::kDataLoss, HasSubstr("bad.npy")));
}

}  // namespace
}  // namespace hachi
