#include "engine/onnx/model_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "engine/base/file.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

std::vector<float> Counting(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

class ModelFileTest : public testing::Test {
 protected:
  absl::StatusOr<ModelFile> Parse(const std::string& bytes) {
    return ParseModelFile(directory_.Write("model.onnx", bytes), nullptr);
  }

  // A model whose only initializer is these bytes, of a TensorProto.
  static std::string ModelOf(const std::string& tensor) {
    std::string graph;
    for (const auto& [tag, bytes] : {std::pair(0x2A, &tensor), {0x3A, &graph}}) {
      std::string field(1, static_cast<char>(tag));
      for (size_t length = bytes->size(); length > 0 || field.size() == 1; length >>= 7)
        field.push_back(static_cast<char>((length & 0x7F) | (length >= 0x80 ? 0x80 : 0)));
      graph = field + *bytes;
    }
    return graph;
  }

  TempDir directory_;
};

TEST_F(ModelFileTest, ManyElementsAreReadToWhereTheyStay) {
  ModelBuilder model;
  model.Floats("few", {2}, {1, 2});
  model.Floats("many", {100, 2}, Counting(200));
  model.Floats("more_than_a_piece", {600'000}, Counting(600'000));
  const auto parsed = Parse(model.Bytes());
  ASSERT_OK(parsed);
  ASSERT_EQ(parsed->elements.size(), 3u);
  EXPECT_FALSE(parsed->elements[0]);
  EXPECT_EQ(parsed->elements[1]->shape(), (Shape{100, 2}));
  EXPECT_TRUE(std::ranges::equal(parsed->elements[1]->As<float>(), Counting(200)));
  EXPECT_TRUE(std::ranges::equal(parsed->elements[2]->As<float>(), Counting(600'000)));
  EXPECT_EQ(parsed->model.graph().initializer(1).name(), "many");
  EXPECT_TRUE(parsed->model.graph().initializer(1).raw_data().empty());
}

TEST_F(ModelFileTest, TheRestOfTheModelIsWhatProtobufReads) {
  ModelBuilder model;
  model.Input("x", {"N", "200"});
  model.Node("Relu", {"x"}, {"y"});
  model.Output("y");
  const auto parsed = Parse(model.Bytes());
  ASSERT_OK(parsed);
  EXPECT_EQ(parsed->model.SerializeAsString(), model.Bytes());
}

TEST_F(ModelFileTest, ElementsInFrontOfTheirShapeStayInTheMessage) {
  ModelBuilder model;
  onnx::TensorProto whole = *model.Floats("w", {200}, Counting(200)), elements;
  elements.set_raw_data(whole.raw_data());
  whole.clear_raw_data();
  const auto parsed = Parse(ModelOf(elements.SerializeAsString() + whole.SerializeAsString()));
  ASSERT_OK(parsed);
  EXPECT_FALSE(parsed->elements[0]);
  EXPECT_EQ(parsed->model.graph().initializer(0).raw_data().size(), 800u);
}

TEST_F(ModelFileTest, WhatContradictsTheElementsIsLeftToWhoeverReadsTheMessage) {
  for (const auto& change : std::vector<std::function<void(onnx::TensorProto&)>>{
           [](auto& more) { more.add_float_data(1); }, [](auto& more) { more.add_dims(2); },
           [](auto& more) { more.set_data_type(onnx::TensorProto::INT32); },
           [](auto& more) { more.set_data_location(onnx::TensorProto::EXTERNAL); }}) {
    ModelBuilder model;
    const std::string tensor = model.Floats("w", {200}, Counting(200))->SerializeAsString();
    onnx::TensorProto more;
    change(more);
    const auto parsed = Parse(ModelOf(tensor + more.SerializeAsString()));
    ASSERT_OK(parsed);
    EXPECT_FALSE(parsed->elements[0]);
    EXPECT_EQ(parsed->model.graph().initializer(0).raw_data().size(), 800u);
  }
}

TEST_F(ModelFileTest, LengthsBeyondWhatIsThereDoNotParse) {
  ModelBuilder model;
  const std::string tensor = model.Floats("w", {200}, Counting(200))->SerializeAsString();
  for (const size_t missing : {1, 100, 799, 805})
    EXPECT_THAT(Parse(ModelOf(tensor.substr(0, tensor.size() - missing))),
                StatusIs(StatusCode::kDataLoss, HasSubstr("does not parse")))
        << missing;
  const std::string longest = "\x4A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F";  // raw_data of 2^63 - 1 bytes
  EXPECT_THAT(Parse(ModelOf(tensor + longest)), StatusIs(StatusCode::kDataLoss));
}

TEST_F(ModelFileTest, TheHashIsThatOfTheFile) {
  ModelBuilder model;
  model.Floats("w", {600'000}, Counting(600'000));
  const auto file = directory_.Write("model.onnx", model.Bytes());
  Sha256 sha256;
  ASSERT_OK(ParseModelFile(file, &sha256));
  EXPECT_EQ(sha256.Digest(), *Sha256Of("", std::vector{file}));
}

}  // namespace
}  // namespace hachi
