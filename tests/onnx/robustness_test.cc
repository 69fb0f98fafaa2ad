// Nothing that stands in a file may crash the import: the public test models, cut files, flipped bytes.
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <set>

#include "engine/base/file.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;

const std::filesystem::path kTestData = "/usr/share/libonnx-testdata/data";

// Whether the result is what a file from outside may give.
bool IsExpected(const absl::StatusOr<ImportedModel>& graph) {
  if (graph.ok()) return graph->graph.Verify().ok();
  switch (graph.status().code()) {
    case StatusCode::kUnimplemented:
    case StatusCode::kInvalidArgument:
    case StatusCode::kDataLoss:
    case StatusCode::kNotFound:
    case StatusCode::kResourceExhausted:
      return true;
    default:
      return false;
  }
}

// A model with something of everything: initializers of several encodings, attributes of several types, old
// forms.
std::string Sample() {
  ModelBuilder model(9);
  model.Input("x", {"N", "2", "4", "4"});
  model.Floats("w", {2, 2, 1, 1}, {1, 2, 3, 4});
  model.Int64s("shape", {0, -1});
  model.Floats("rows", {64, 2}, std::vector<float>(128, 0.25f));
  auto* conv = model.Node("Conv", {"x", "w"}, {"c"}, "conv");
  SetInts(conv, "strides", {1, 1});
  SetString(conv, "auto_pad", "SAME_UPPER");
  SetFloat(model.Node("Clip", {"c"}, {"d"}), "max", 6);
  auto* value =
      AddAttr(model.Node("Constant", {}, {"k"}), "value", onnx::AttributeProto::TENSOR)->mutable_t();
  value->set_data_type(onnx::TensorProto::FLOAT);
  value->add_float_data(0.5f);
  model.Node("Mul", {"d", "k"}, {"e"});
  model.Node("Reshape", {"e", "shape"}, {"f"});
  model.Node("Softmax", {"f"}, {"g"});
  model.Node("MatMul", {"rows", "g"}, {"y"});
  model.Output("y");
  return model.Bytes();
}

TEST(RobustnessTest, PublicTestModelsAreImportedOrRefused) {
  ASSERT_TRUE(std::filesystem::is_directory(kTestData)) << "package libonnx-testdata is missing";
  int models = 0, imported = 0;
  for (const char* group : {"node", "simple", "pytorch-converted", "pytorch-operator"})
    for (const auto& entry : std::filesystem::directory_iterator(kTestData / group)) {
      const auto graph = ImportOnnx(entry.path() / "model.onnx");
      EXPECT_TRUE(IsExpected(graph)) << entry.path() << ": " << graph.status();
      ++models;
      imported += graph.ok();
    }
  EXPECT_GT(models, 1000);
  EXPECT_GT(imported, 870);  // the others have opset 6 or ask for sequences, strings or control flow
}

// The operators of the public models.
std::set<std::string> Operators() {
  std::set<std::string> operators;
  for (const auto& entry : std::filesystem::directory_iterator(kTestData / "node")) {
    onnx::ModelProto model;
    if (std::ifstream file(entry.path() / "model.onnx", std::ios::binary); model.ParseFromIstream(&file))
      for (const onnx::NodeProto& node : model.graph().node()) operators.insert(node.op_type());
  }
  return operators;
}

TEST(RobustnessTest, NoOperatorReliesOnWhatItsProducerLeavesOut) {
  for (const std::string& op : Operators())
    for (const char* producer :
         {"QuantizeLinear", "DequantizeLinear", "Split", "Reshape", "Transpose", "Constant"})
      for (const std::vector<std::string>& left :
           {std::vector<std::string>{}, {""}, {"", "x"}, {"x", ""}, {"x", "", "x"}}) {
        ModelBuilder model;
        model.Input("x", {"2", "2"});
        model.Node(producer, left, {"y"});
        model.Node(op, {"y", "y", "y"}, {"z"});
        model.Output("z");
        const auto graph = ImportOnnx(TempDir().Write("model.onnx", model.Bytes()));
        EXPECT_TRUE(IsExpected(graph)) << producer << " before " << op << ": " << graph.status();
      }
}

TEST(RobustnessTest, NoPrefixOfAModelCrashes) {
  const TempDir directory;
  const std::string bytes = Sample();
  ASSERT_OK(ImportOnnx(directory.Write("model.onnx", bytes)));
  for (size_t length = 0; length < bytes.size(); ++length)
    EXPECT_TRUE(IsExpected(ImportOnnx(directory.Write("model.onnx", bytes.substr(0, length))))) << length;
}

TEST(RobustnessTest, NoMutationOfAModelCrashes) {
  const TempDir directory;
  const std::string bytes = Sample();
  std::mt19937 random(7);
  for (int round = 0; round < 4000; ++round) {
    std::string mutated = bytes;
    for (int changes = 1 + static_cast<int>(random() % 4); changes > 0; --changes)
      mutated[random() % mutated.size()] = static_cast<char>(random() % 256);
    const auto graph = ImportOnnx(directory.Write("model.onnx", mutated));
    EXPECT_TRUE(IsExpected(graph)) << "round " << round << ": " << graph.status();
  }
}

}  // namespace
}  // namespace hachi
