#include "engine/onnx/import.h"

#include <gtest/gtest.h>

#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

// x -> Conv -> BatchNormalization -> Relu -> + x -> y, as a residual block is exported.
ModelBuilder ResidualBlock() {
  ModelBuilder model;
  model.Input("x", {"batch", "1", "4", "4"});
  model.Output("y");
  model.Floats("w", {1, 1, 3, 3}, std::vector<float>(9, 0.5f));
  for (const char* name : {"gamma", "beta", "mean", "var"}) model.Floats(name, {1}, {1});
  auto* conv = model.Node("Conv", {"x", "w"}, {"c"}, "conv1");
  SetInts(conv, "pads", {1, 1, 1, 1});
  SetInts(conv, "strides", {1, 1});
  SetFloat(model.Node("BatchNormalization", {"c", "gamma", "beta", "mean", "var"}, {"b"}, "bn1"), "epsilon",
           0.5f);
  model.Node("Relu", {"b"}, {"r"});
  model.Node("Add", {"r", "x"}, {"y"});
  return model;
}

TEST(ImportTest, ResidualBlockBecomesTheGraphItWrites) {
  const auto graph = ResidualBlock().Import();
  ASSERT_OK(graph);
  EXPECT_EQ(ToText(*graph), R"(graph net {
  input x: f32[batch,1,4,4]
  const beta: f32[1] = 1
  const gamma: f32[1] = 1
  const mean: f32[1] = 1
  const var: f32[1] = 1
  const w: f32[1,1,3,3] = 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5
  conv1: Conv(x, w) {pads=[1,1,1,1], strides=[1,1]} -> c: f32[?]
  bn1: BatchNormalization(c, gamma, beta, mean, var) {epsilon=0.5} -> b: f32[?]
  r: Relu(b) -> r: f32[?]
  y: Add(r, x) -> y: f32[?]
  output y = y
}
)");
}

TEST(ImportTest, FunctionsOfTheFileAreWrittenOut) {
  ModelBuilder model;
  model.Input("x", {"2"});
  model.Output("y");
  auto* function = model.proto.add_functions();
  function->set_name("Twice");
  function->set_domain("own");
  function->add_input("a");
  function->add_output("c");
  function->add_attribute("slope");
  for (const auto& [in, out] : {std::pair("a", "b"), std::pair("b", "c")}) {
    auto* node = function->add_node();
    node->set_op_type("LeakyRelu");
    node->add_input(in);
    node->add_output(out);
    AddAttr(node, "alpha", onnx::AttributeProto::FLOAT)->set_ref_attr_name("slope");
  }
  auto* call = model.Node("Twice", {"x"}, {"y"}, "call");
  call->set_domain("own");
  SetFloat(call, "slope", 0.25f);
  const auto graph = model.Import();
  ASSERT_OK(graph);
  EXPECT_THAT(ToText(*graph), AllOf(HasSubstr("LeakyRelu(x) {alpha=0.25} -> call/1/b"),
                                    HasSubstr("LeakyRelu(call/1/b) {alpha=0.25} -> y")));
}

TEST(ImportTest, OperatorsThatAreNotKnownAreWrittenOutAsOnnxDefinesThem) {
  ModelBuilder model(13);
  model.Input("x", {"2", "3", "4", "5"});
  model.Output("y");
  model.Node("MeanVarianceNormalization", {"x"}, {"y"}, "mvn");
  const TempDir directory;
  const auto known = [](std::string_view op) { return op != "MeanVarianceNormalization"; };
  const auto imported = ImportOnnx(directory.Write("model.onnx", model.Bytes()), false, known);
  ASSERT_OK(imported);
  EXPECT_THAT(ToText(imported->graph), AllOf(HasSubstr("ReduceMean(x"), HasSubstr("-> y: f32")));
}

TEST(ImportTest, BranchesKeepWhatTheyReadOfTheGraphAroundThem) {
  ModelBuilder model;
  model.Input("x", {"2"});
  model.Input("c", {}, onnx::TensorProto::BOOL);
  model.Output("y");
  auto* node = model.Node("If", {"c"}, {"y"}, "if");
  AddBranch(node, "then_branch", "Relu", "inner");
  AddBranch(node, "else_branch", "Neg", "inner");
  const auto graph = model.Import();
  ASSERT_OK(graph);
  EXPECT_THAT(ToText(*graph),
              HasSubstr("if: If(c, x, x) {else_branch=graph(1 nodes), then_branch=graph(1 nodes)} -> y"));
}

TEST(ImportTest, RealNumbersOfEveryWidthAreComputedInFp32) {
  ModelBuilder model;
  model.Input("x", {"2"}, onnx::TensorProto::FLOAT16);
  auto* output = model.proto.mutable_graph()->add_output();
  output->set_name("y");
  output->mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::DOUBLE);
  auto* half = model.Floats("w", {2}, {});
  half->set_data_type(onnx::TensorProto::FLOAT16);
  half->set_raw_data(std::string("\x00\x3c\x00\xc0", 4));
  model.Node("Mul", {"x", "w"}, {"y"}, "mul");
  const auto graph = model.Import();
  ASSERT_OK(graph);
  EXPECT_THAT(ToText(*graph),
              AllOf(HasSubstr("input x: f16[2]"), HasSubstr("const w: f32[2] = 1 -2"),
                    HasSubstr("x_f32: Cast(x) {to=1}"), HasSubstr("mul: Mul(x_f32, w)"),
                    HasSubstr("Cast(y) {to=11} -> y_as_declared"), HasSubstr("output y = y_as_declared")));
}

TEST(ImportTest, NodesInAnyOrderAreSorted) {
  ModelBuilder model;
  model.Input("x", {"1"});
  model.Output("y");
  model.Node("Relu", {"a"}, {"y"}, "second");
  model.Node("Neg", {"x"}, {"a"}, "first");
  const auto graph = model.Import();
  ASSERT_OK(graph);
  EXPECT_EQ(graph->nodes().front()->name, "first");
}

TEST(ImportTest, InitializersThatAreInputsAreConstants) {
  ModelBuilder model = ResidualBlock();
  model.Input("w", {"1", "1", "3", "3"});
  const auto graph = model.Import();
  ASSERT_OK(graph);
  EXPECT_EQ(graph->inputs().size(), 1u);
  EXPECT_TRUE(graph->FindValue("w")->is_constant());
}

TEST(ImportTest, DimensionNamesBecomeDistinctSymbols) {
  ModelBuilder model;
  model.Input("a", {"", "batch-size", "batch_size", "2x", ""});
  model.Input("b", {"-1", "N", "batch-size", "0"});
  model.Output("a");
  const auto graph = model.Import();
  ASSERT_OK(graph);
  EXPECT_EQ(ShapeText(*graph->inputs()[0]->dims), "[N_2,batch_size,batch_size_2,d2x,D]");
  EXPECT_EQ(ShapeText(*graph->inputs()[1]->dims), "[N_3,N,batch_size,0]");
}

TEST(ImportTest, TheFirstUnnamedDimensionIsN) {
  ModelBuilder model;
  model.Input("a", {"", "3", "", ""});
  model.Output("a");
  const auto graph = model.Import();
  ASSERT_OK(graph);
  EXPECT_EQ(ShapeText(*graph->inputs()[0]->dims), "[N,3,D,D_2]");
}

TEST(ImportTest, AQuestionMarkIsNoName) {
  ModelBuilder model;
  model.Input("a", {"?", "?", "?"});
  model.Input("b", {"?", "3"});
  model.Output("a");
  const auto graph = model.Import();
  ASSERT_OK(graph);
  EXPECT_EQ(ShapeText(*graph->inputs()[0]->dims), "[N,D,D_2]");
  EXPECT_EQ(ShapeText(*graph->inputs()[1]->dims), "[N_2,3]");
}

TEST(ImportTest, ConstantNodesBecomeConstants) {
  ModelBuilder model;
  AddAttr(model.Node("Constant", {}, {"i"}), "value_int", onnx::AttributeProto::INT)->set_i(7);
  AddAttr(model.Node("Constant", {}, {"f"}), "value_float", onnx::AttributeProto::FLOAT)->set_f(0.5f);
  SetInts(model.Node("Constant", {}, {"is"}), "value_ints", {1, 2});
  auto* floats = AddAttr(model.Node("Constant", {}, {"fs"}), "value_floats", onnx::AttributeProto::FLOATS);
  floats->add_floats(1.5f);
  auto* tensor =
      AddAttr(model.Node("Constant", {}, {"t"}), "value", onnx::AttributeProto::TENSOR)->mutable_t();
  tensor->set_data_type(onnx::TensorProto::UINT8);
  tensor->add_dims(2);
  tensor->set_raw_data("\x03\x04");
  model.Node("Sum", {"i", "f", "is", "fs", "t"}, {"y"});
  model.Output("y");
  const auto graph = model.Import();
  ASSERT_OK(graph);
  EXPECT_EQ(ToText(*graph), R"(graph net {
  const f: f32[] = 0.5
  const fs: f32[1] = 1.5
  const i: s64[] = 7
  const is: s64[2] = 1 2
  const t: u8[2] = 3 4
  y: Sum(i, f, is, fs, t) -> y: f32[?]
  output y = y
}
)");
}

TEST(ImportTest, NamesAreMadeUpAndMadeUnique) {
  ModelBuilder model;
  model.Input("x", {"1"});
  model.Output("z");
  model.Node("Relu", {"x"}, {"b"});  // would be called b, but a later node is
  model.Node("Relu", {"b"}, {"y"}, "b");
  model.Node("Relu", {"y"}, {"z"}, "b");
  const auto graph = model.Import();
  ASSERT_OK(graph);
  std::vector<std::string> names;
  for (const Node* node : graph->NodeList()) names.push_back(node->name);
  EXPECT_EQ(names, (std::vector<std::string>{"b_2", "b", "b_3"}));
}

TEST(ImportTest, LeftOutInputsAreNullAndLeftOutOutputsGetNames) {
  ModelBuilder model;
  model.Input("x", {"1"});
  model.Output("h");
  model.Node("Resize", {"x", "", "", "x", ""}, {"r"}, "resize");
  model.Node("TopK", {"r", "x"}, {"", "h"}, "top");
  const auto graph = model.Import();
  ASSERT_OK(graph);
  const auto nodes = graph->NodeList();
  ASSERT_EQ(nodes[0]->inputs.size(), 4u);
  EXPECT_EQ(nodes[0]->inputs[1], nullptr);
  EXPECT_EQ(nodes[1]->outputs[0]->name, "top_unused");
}

TEST(ImportTest, UnreadTrainingOutputsAreDropped) {
  ModelBuilder model(9);
  model.Input("x", {"N", "1"});
  model.Floats("s", {1}, {1});
  model.Node("BatchNormalization", {"x", "s", "s", "s", "s"}, {"y", "mean", "var"});
  model.Output("y");
  const auto graph = model.Import();
  ASSERT_OK(graph);
  EXPECT_EQ(graph->nodes().front()->outputs.size(), 1u);
  model.Output("var");
  EXPECT_THAT(model.Import(), StatusIs(StatusCode::kUnimplemented, HasSubstr("'var' is for training")));
}

// Each makes a good model bad in one way; the error has the code and names what is wrong.
struct BadModel {
  const char* name;
  void (*spoil)(ModelBuilder& model);
  StatusCode code;
  const char* message;
};

class BadModelTest : public testing::TestWithParam<BadModel> {};

TEST_P(BadModelTest, IsRefusedByName) {
  ModelBuilder model = ResidualBlock();
  GetParam().spoil(model);
  EXPECT_THAT(model.Import(),
              StatusIs(GetParam().code, AllOf(HasSubstr("model.onnx"), HasSubstr(GetParam().message))));
}

onnx::GraphProto& GraphOf(ModelBuilder& model) { return *model.proto.mutable_graph(); }

const BadModel kBadModels[] = {
    {"NewOpset", [](ModelBuilder& m) { m.proto.mutable_opset_import(0)->set_version(INT64_MAX); },
     StatusCode::kUnimplemented, "expected 1 to 23"},
    {"NoOpset", [](ModelBuilder& m) { m.proto.clear_opset_import(); }, StatusCode::kInvalidArgument,
     "default domain is not imported"},
    {"TwoOpsets", [](ModelBuilder& m) { m.proto.add_opset_import()->set_version(9); },
     StatusCode::kInvalidArgument, "versions 17 and 9"},
    {"NoGraph", [](ModelBuilder& m) { m.proto.clear_graph(); }, StatusCode::kInvalidArgument, "has no graph"},
    {"FunctionOfItself",
     [](ModelBuilder& m) {
       auto* function = m.proto.add_functions();
       function->set_name("F");
       function->add_input("a");
       function->add_output("b");
       auto* inner = function->add_node();
       inner->set_op_type("F");
       inner->add_input("a");
       inner->add_output("b");
       m.Node("F", {"x"}, {"p"});
     },
     StatusCode::kInvalidArgument, "function 'F' is called from 16 functions within each other"},
    {"SparseInitializer", [](ModelBuilder& m) { GraphOf(m).add_sparse_initializer(); },
     StatusCode::kUnimplemented, "sparse"},
    {"NoOutputs", [](ModelBuilder& m) { GraphOf(m).clear_output(); }, StatusCode::kInvalidArgument,
     "no outputs"},
    {"UnknownOutput", [](ModelBuilder& m) { m.Output("ghost"); }, StatusCode::kInvalidArgument,
     "output 'ghost' is not defined"},
    {"OutputTwice", [](ModelBuilder& m) { m.Output("y"); }, StatusCode::kInvalidArgument,
     "output 'y' is listed twice"},
    {"InputTwice", [](ModelBuilder& m) { m.Input("x", {"1"}); }, StatusCode::kInvalidArgument,
     "input 'x' is listed twice"},
    {"InitializerTwice", [](ModelBuilder& m) { m.Floats("w", {1}, {1}); }, StatusCode::kInvalidArgument,
     "initializer 'w' is defined twice"},
    {"InitializerUnnamed", [](ModelBuilder& m) { m.Floats("", {1}, {1}); }, StatusCode::kInvalidArgument,
     "no name"},
    {"OutputRedefined", [](ModelBuilder& m) { m.Node("Relu", {"x"}, {"c"}, "again"); },
     StatusCode::kInvalidArgument, "node 'again': output 'c' is defined twice"},
    {"OutputTwiceInNode",
     [](ModelBuilder& m) {
       m.Node("Split", {"x"}, {"p", "p"});
     },
     StatusCode::kInvalidArgument, "output 'p' is listed twice"},
    {"UndefinedInput", [](ModelBuilder& m) { m.Node("Relu", {"ghost"}, {"g"}, "lost"); },
     StatusCode::kInvalidArgument, "node 'lost': input 'ghost' is not defined"},
    {"Cycle",
     [](ModelBuilder& m) {
       m.Node("Add", {"x", "q"}, {"p"});
       m.Node("Relu", {"p"}, {"q"});
     },
     StatusCode::kInvalidArgument, "cycle"},
    {"SelfLoop", [](ModelBuilder& m) { m.Node("Relu", {"p"}, {"p"}); }, StatusCode::kInvalidArgument,
     "cycle"},
    {"NodeWithoutOutputs", [](ModelBuilder& m) { m.Node("Relu", {"x"}, {""}, "mute"); },
     StatusCode::kInvalidArgument, "node 'mute' (Relu) has no outputs"},
    {"NodeWithoutOperator", [](ModelBuilder& m) { m.Node("", {"x"}, {"p"}); }, StatusCode::kInvalidArgument,
     "has no operator"},
    {"CustomDomain", [](ModelBuilder& m) { m.Node("Gelu", {"x"}, {"p"}, "gelu")->set_domain("com.example"); },
     StatusCode::kUnimplemented, "node 'gelu': operator Gelu is of domain 'com.example'"},
    {"Subgraph",
     [](ModelBuilder& m) {
       AddAttr(m.Node("Loop", {"x"}, {"p"}, "loop"), "body", onnx::AttributeProto::GRAPH)->mutable_g();
     },
     StatusCode::kUnimplemented, "node 'loop': Loop: attribute 'body': is a graph"},
    {"BranchMissing", [](ModelBuilder& m) { m.Node("If", {"x"}, {"p"}, "if"); }, StatusCode::kInvalidArgument,
     "node 'if': If has no attribute 'then_branch'"},
    {"SparseAttribute",
     [](ModelBuilder& m) {
       AddAttr(m.Node("Constant", {}, {"p"}), "sparse_value", onnx::AttributeProto::SPARSE_TENSOR);
     },
     StatusCode::kUnimplemented, "SPARSE_TENSOR"},
    {"StringConstant",
     [](ModelBuilder& m) {
       AddAttr(m.Node("Constant", {}, {"p"}), "value_string", onnx::AttributeProto::STRING)->set_s("a");
     },
     StatusCode::kUnimplemented, "strings"},
    {"ConstantOfWrongType", [](ModelBuilder& m) { SetInt(m.Node("Constant", {}, {"p"}), "value", 1); },
     StatusCode::kInvalidArgument, "attribute 'value'"},
    {"EmptyConstant", [](ModelBuilder& m) { m.Node("Constant", {}, {"p"}); }, StatusCode::kInvalidArgument,
     "Constant has 0 attributes"},
    {"AttributeTwice", [](ModelBuilder& m) { SetInt(GraphOf(m).mutable_node(1), "epsilon", 1); },
     StatusCode::kInvalidArgument, "node 'bn1': attribute 'epsilon' is given twice"},
    {"AttributeWithoutValue",
     [](ModelBuilder& m) { GraphOf(m).mutable_node(0)->add_attribute()->set_name("group"); },
     StatusCode::kInvalidArgument, "attribute 'group': has neither"},
    {"TensorAttributeWithoutTensor",
     [](ModelBuilder& m) { AddAttr(GraphOf(m).mutable_node(0), "t", onnx::AttributeProto::TENSOR); },
     StatusCode::kInvalidArgument, "attribute 't': has no tensor"},
    {"AttributeReference",
     [](ModelBuilder& m) { GraphOf(m).mutable_node(0)->mutable_attribute(0)->set_ref_attr_name("pads"); },
     StatusCode::kInvalidArgument, "function"},
    {"StringInput", [](ModelBuilder& m) { m.Input("text", {"1"}, onnx::TensorProto::STRING); },
     StatusCode::kUnimplemented, "input 'text': element type is STRING"},
    {"UnknownInputType", [](ModelBuilder& m) { m.Input("odd", {"1"}, 99); }, StatusCode::kInvalidArgument,
     "input 'odd': element type is 99"},
    {"SequenceInput", [](ModelBuilder& m) { m.AddInput("list")->mutable_type()->mutable_sequence_type(); },
     StatusCode::kUnimplemented, "input 'list': is a sequence"},
    {"UntypedInput", [](ModelBuilder& m) { m.AddInput("odd"); }, StatusCode::kInvalidArgument,
     "input 'odd': has no type"},
    {"UnrankedInput",
     [](ModelBuilder& m) {
       m.AddInput("odd")->mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::FLOAT);
     },
     StatusCode::kUnimplemented, "input 'odd': has no shape"},
    {"HugeInput",
     [](ModelBuilder& m) {
       m.Input("odd", {"4611686018427387904", "4"});
     },
     StatusCode::kResourceExhausted, "expected at most 2147483647"},
    {"DeepInput", [](ModelBuilder& m) { m.Input("odd", std::vector<std::string>(13, "1")); },
     StatusCode::kInvalidArgument, "13 dimensions"},
    {"UnprintableName", [](ModelBuilder& m) { m.Node("Relu", {"x"}, {"a\nb"}); },
     StatusCode::kInvalidArgument, "not printable"},
    {"NameThatIsNotUtf8", [](ModelBuilder& m) { m.Node("Relu", {"x"}, {"a\xC3"}); },
     StatusCode::kInvalidArgument, "not printable"},
};

INSTANTIATE_TEST_SUITE_P(All, BadModelTest, testing::ValuesIn(kBadModels),
                         [](const auto& test) { return test.param.name; });

TEST(ImportTest, DomainsThatNoNodeUsesAreIgnored) {
  ModelBuilder model = ResidualBlock();
  auto* import = model.proto.add_opset_import();
  import->set_domain("com.microsoft");
  import->set_version(1);
  model.proto.mutable_opset_import(0)->set_domain("ai.onnx");
  model.proto.set_ir_version(10);
  EXPECT_OK(model.Import());
}

TEST(ImportTest, TooManyNodesAreRefused) {
  ModelBuilder model = ResidualBlock();
  for (int i = 0; i < 100'000; ++i) model.proto.mutable_graph()->add_node();
  EXPECT_THAT(model.Import(), StatusIs(StatusCode::kInvalidArgument, HasSubstr("100004 nodes")));
}

TEST(ImportTest, FilesThatAreNoModelsAreRefused) {
  const TempDir directory;
  EXPECT_THAT(ImportOnnx(directory.path() / "none.onnx"), StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(ImportOnnx(directory.path()), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(ImportOnnx(directory.Write("empty.onnx", "")), StatusIs(StatusCode::kDataLoss));
  EXPECT_THAT(ImportOnnx(directory.Write("text.onnx", "not a model")), StatusIs(StatusCode::kDataLoss));
}

}  // namespace
}  // namespace hachi
