#include <gtest/gtest.h>

#include "engine/base/file.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

// A directory with `model/weights.bin` (16 bytes: f32 0 1 2 3) and a secret beside `model`.
class ExternalDataTest : public testing::Test {
 protected:
  ExternalDataTest() {
    const float values[] = {0, 1, 2, 3};
    directory_.Write("model/weights.bin", std::string(reinterpret_cast<const char*>(values), sizeof values));
    directory_.Write("secret.bin", "do not read this");
  }

  // A model whose constant of two floats is external.
  std::filesystem::path Model(const std::map<std::string, std::string>& entries) {
    ModelBuilder model;
    auto* tensor = model.Floats("w", {2}, {});
    tensor->clear_raw_data();
    SetExternal(tensor, entries);
    model.Output("w");
    return directory_.Write("model/model.onnx", model.Bytes());
  }

  static void SetExternal(onnx::TensorProto* tensor, const std::map<std::string, std::string>& entries) {
    tensor->set_data_location(onnx::TensorProto::EXTERNAL);
    for (const auto& [key, value] : entries) {
      auto* entry = tensor->add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    }
  }

  std::filesystem::path dir() const { return directory_.path() / "model"; }

  TempDir directory_;
};

TEST_F(ExternalDataTest, ElementsAreReadFromTheirPlace) {
  const auto graph = ImportOnnx(Model({{"location", "weights.bin"}, {"offset", "4"}, {"length", "8"}}));
  ASSERT_OK(graph);
  EXPECT_THAT(graph->graph.FindValue("w")->constant->As<float>(), ElementsAre(1, 2));
  EXPECT_OK(ImportOnnx(Model({{"location", "./weights.bin"}, {"checksum", "unused"}})));
}

TEST_F(ExternalDataTest, ConstantNodesMayBeExternalToo) {
  ModelBuilder model;
  auto* tensor =
      AddAttr(model.Node("Constant", {}, {"w"}), "value", onnx::AttributeProto::TENSOR)->mutable_t();
  tensor->set_data_type(onnx::TensorProto::FLOAT);
  tensor->add_dims(1);
  SetExternal(tensor, {{"location", "../secret.bin"}});
  model.Output("w");
  EXPECT_THAT(ImportOnnx(directory_.Write("model/model.onnx", model.Bytes())),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("'..'")));
}

TEST_F(ExternalDataTest, PathsOutOfTheDirectoryAreRefused) {
  const auto secret = directory_.path() / "secret.bin";
  std::filesystem::create_directory(dir() / "sub");
  std::filesystem::create_symlink(secret, dir() / "link.bin");
  std::filesystem::create_directory_symlink(directory_.path(), dir() / "up");
  for (const std::string& location :
       {std::string("../secret.bin"), std::string("sub/../../secret.bin"), std::string("sub/../weights.bin"),
        secret.string(), std::string("link.bin"), std::string("up/secret.bin"), std::string(""),
        std::string("."), std::string("sub"), std::string("weights.bin\0x", 13)}) {
    const auto file = Model({{"location", location}});
    EXPECT_THAT(ImportOnnx(file), StatusIs(StatusCode::kInvalidArgument)) << location;
  }
  for (const std::string location : {"none.bin", "C:\\weights.bin", "%2e%2e/secret.bin"})
    EXPECT_THAT(ImportOnnx(Model({{"location", location}})), StatusIs(StatusCode::kNotFound)) << location;
}

TEST_F(ExternalDataTest, LinksInsideTheDirectoryAreFollowed) {
  std::filesystem::create_directory(dir() / "data");
  std::filesystem::rename(dir() / "weights.bin", dir() / "data/weights.bin");
  std::filesystem::create_symlink("data/weights.bin", dir() / "weights.bin");
  EXPECT_OK(ImportOnnx(Model({{"location", "weights.bin"}})));
}

TEST_F(ExternalDataTest, SpecialFilesAreRefused) {
  ASSERT_EQ(mkfifo((dir() / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(ImportOnnx(Model({{"location", "pipe"}})),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("not a regular file")));
}

TEST_F(ExternalDataTest, RangesMustLieInTheFile) {
  for (const char* offset : {"-1", "x", "", "9223372036854775808", "0x4"})
    EXPECT_THAT(ImportOnnx(Model({{"location", "weights.bin"}, {"offset", offset}})),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("offset")))
        << offset;
  for (const char* length : {"-8", "7", "9", "0", "1152921504606846976"})
    EXPECT_THAT(ImportOnnx(Model({{"location", "weights.bin"}, {"length", length}})),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("length")))
        << length;
  for (const char* offset : {"9", "16", "17", "9223372036854775807"})
    EXPECT_THAT(ImportOnnx(Model({{"location", "weights.bin"}, {"offset", offset}})),
                StatusIs(StatusCode::kDataLoss, HasSubstr("16 bytes, expected 8 from offset")))
        << offset;
}

TEST_F(ExternalDataTest, PetabytesAreRefusedBeforeTheyAreAllocated) {
  ModelBuilder model;
  auto* tensor = model.Floats("w", {int64_t{1} << 50}, {});
  SetExternal(tensor, {{"location", "weights.bin"}});
  model.Output("w");
  EXPECT_THAT(ImportOnnx(directory_.Write("model/model.onnx", model.Bytes())),
              StatusIs(StatusCode::kDataLoss));
}

TEST_F(ExternalDataTest, OddKeysAreRefused) {
  EXPECT_THAT(ImportOnnx(Model({{"location", "weights.bin"}, {"__class__", "x"}})),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("__class__")));
  ModelBuilder model;
  auto* tensor = model.Floats("w", {2}, {});
  SetExternal(tensor, {{"location", "weights.bin"}});
  SetExternal(tensor, {{"location", "weights.bin"}});
  model.Output("w");
  EXPECT_THAT(ImportOnnx(directory_.Write("model/model.onnx", model.Bytes())),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("each key once")));
}

TEST_F(ExternalDataTest, TheModelsHashCoversItsFilesInNameOrder) {
  directory_.Write("model/b.bin", "12345678");
  ModelBuilder model;
  const std::pair<const char*, const char*> initializers[] = {
      {"w1", "weights.bin"}, {"w2", "b.bin"}, {"w3", "weights.bin"}};
  for (const auto& [name, location] : initializers) {
    auto* tensor = model.Floats(name, {2}, {});
    tensor->clear_raw_data();
    SetExternal(tensor, {{"location", location}});
    model.Output(name);
  }
  const auto file = directory_.Write("model/model.onnx", model.Bytes());
  const auto imported = ImportOnnx(file);
  ASSERT_OK(imported);
  const std::vector files = {file.parent_path() / "b.bin", file.parent_path() / "weights.bin"};
  EXPECT_EQ(imported->sha256, *Sha256Of(model.Bytes(), files));
  directory_.Write("model/b.bin", "12345679");
  EXPECT_NE(ImportOnnx(file)->sha256, imported->sha256);
}

}  // namespace
}  // namespace hachi
