// Models that ask for more than there is, or for what can't be: each is refused with a reason that names the
// node, soon, and without memory that its file does not account for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/cpu/budget.h"
#include "engine/engine.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using testing::HasSubstr;

constexpr int64_t kHuge = int64_t{1} << 40, kHugest = std::numeric_limits<int64_t>::max();

absl::Status Load(const ModelBuilder& builder) {
  const TempDir dir;
  return LoadModel({.name = "hostile", .model = dir.Write("model.onnx", builder.Bytes())}).status();
}

// Refused for what it asks, with `node` named; not by a failure of ours, nor by a crash.
void ExpectRefused(const ModelBuilder& builder, const std::string& node) {
  const absl::Status status = Load(builder);
  EXPECT_TRUE(absl::IsInvalidArgument(status) || absl::IsResourceExhausted(status) ||
              absl::IsUnimplemented(status))
      << node << ": " << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(node));
}

// y = OP(x, constants...), x of these dimensions.
ModelBuilder OneNode(const std::string& op, const std::vector<std::string>& dims,
                     const std::vector<std::vector<int64_t>>& constants,
                     const std::function<void(onnx::NodeProto*)>& edit = {}) {
  ModelBuilder builder;
  builder.Input("x", dims);
  builder.Output("y");
  std::vector<std::string> inputs = {"x"};
  for (size_t i = 0; i < constants.size(); ++i) {
    inputs.push_back(absl::StrCat("c", i));
    builder.Int64s(inputs.back(), constants[i]);
  }
  auto* node = builder.Node(op, inputs, {"y"}, "bad");
  if (edit) edit(node);
  return builder;
}

TEST(HostileModelsTest, DimensionsOfInputsAreBounded) {
  for (const std::vector<std::string>& dims : {std::vector<std::string>{"N", absl::StrCat(kHuge)},
                                               {"1", "3", absl::StrCat(int64_t{1} << 31), "8"},
                                               {absl::StrCat(kHugest)},
                                               {"65536", "65536", "65536"},
                                               {"0", "2147483647", "2147483647", "2147483647"}}) {
    ModelBuilder builder;
    builder.Input("x", dims);
    builder.Output("y");
    builder.Node("Relu", {"x"}, {"y"});
    ExpectRefused(builder, "input 'x'");
  }
}

// Kernels that are made for their shapes take memory beside the arena's.
TEST(HostileModelsTest, NodeThatNeedsMoreThanThereIsIsNamedBeforeItsKernelIsMade) {
  SetMemoryBudget(64 << 20);
  ExpectRefused(OneNode("Tile", {"1", "3"}, {{1, 1 << 23}}), "'bad' (Tile) takes");
  SetMemoryBudget(0);
  EXPECT_OK(Load(OneNode("Tile", {"1", "3"}, {{1, 1 << 10}})));
}

TEST(HostileModelsTest, MemoryThatIsNotThereIsNotAskedFor) {
  // Within what can be counted, beyond any machine that this runs on.
  ModelBuilder builder;
  builder.Input("x", {"512", "1024", "1024", "256"});
  builder.Output("y");
  builder.Node("Relu", {"x"}, {"y"});
  EXPECT_THAT(Load(builder),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("bytes, expected at most")));
}

TEST(HostileModelsTest, NumbersAreOneElement) {
  ExpectRefused(OneNode("Trilu", {"N", "3", "3"}, {{}}), "'bad' (Trilu): input 1 ('c0') has shape [0]");
  ExpectRefused(OneNode("Pad", {"1", "4"}, {{0, 0, 0, 1}, {}}), "'bad' (Pad)");
  ExpectRefused(OneNode("OneHot", {"1", "4"}, {{3}, {1}}), "'bad' (OneHot)");
  for (const int64_t number : {kHugest, -kHugest - 1})
    EXPECT_OK(Load(OneNode("Trilu", {"1", "3", "3"}, {{number}})));
}

// Integers that stand for nothing are no real numbers.
TEST(HostileModelsTest, ConvolutionsOfIntegersAreRefused) {
  ModelBuilder builder;
  builder.Input("x", {"1", "2", "4", "4"}, onnx::TensorProto::UINT8);
  builder.Output("y");
  builder.Floats("w", {2, 2, 1, 1}, std::vector<float>(4, 1));
  builder.Node("Conv", {"x", "w"}, {"y"}, "bad");
  ExpectRefused(builder, "'bad'");
}

TEST(HostileModelsTest, BiasesOfConvolutionsAreRealNumbers) {
  ModelBuilder builder;
  builder.Input("x", {"1", "2", "4", "4"});
  builder.Output("y");
  builder.Floats("w", {2, 2, 1, 1}, std::vector<float>(4, 1));
  builder.proto.mutable_graph()->add_initializer()->set_name("b");
  auto* bias = builder.proto.mutable_graph()->mutable_initializer(1);
  bias->set_data_type(onnx::TensorProto::UINT8);
  bias->add_dims(2);
  bias->set_raw_data("ab");
  builder.Node("Conv", {"x", "w", "b"}, {"y"}, "bad");
  ExpectRefused(builder, "'bad'");
}

// The library divides by the rows of a product.
TEST(HostileModelsTest, EmptyBatchesLoad) {
  for (const std::string op : {"MatMul", "Gemm"}) {
    ModelBuilder builder;
    builder.Input("x", {"0", "4"});
    builder.Output("y");
    builder.Floats("w", {4, 3}, std::vector<float>(12, 1));
    builder.Node(op, {"x", "w"}, {"y"});
    EXPECT_OK(Load(builder)) << op;
  }
  ModelBuilder builder;
  builder.Input("x", {"0", "2", "4", "4"});
  builder.Output("y");
  builder.Floats("w", {2, 2, 1, 1}, std::vector<float>(4, 1));
  builder.Node("Conv", {"x", "w"}, {"y"});
  EXPECT_OK(Load(builder));
}

TEST(HostileModelsTest, ComputedDimensionsAreBounded) {
  ExpectRefused(OneNode("Pad", {"1", "4"}, {{0, 0, 0, -10}}), "'bad' (Pad)");
  ExpectRefused(OneNode("Pad", {"1", "4"}, {{0, 0, 0, kHuge}}), "'bad' (Pad)");
  ExpectRefused(OneNode("Pad", {"1", "4"}, {{0, kHugest, 0, kHugest}}), "'bad' (Pad)");
  ExpectRefused(OneNode("Pad", {"1", "4"}, {{0, -kHugest - 1, 0, -kHugest - 1}}), "'bad' (Pad)");
  ExpectRefused(OneNode("Expand", {"1", "1"}, {{kHuge, 4}}), "'bad' (Expand)");
  ExpectRefused(OneNode("Expand", {"1", "1"}, {{1 << 30, 1 << 30}}), "'bad' (Expand)");
  ExpectRefused(OneNode("Expand", {"1", "1"}, {{-3, 4}}), "'bad' (Expand)");
  ExpectRefused(OneNode("Tile", {"1", "3"}, {{kHugest, kHugest}}), "'bad' (Tile)");
  ExpectRefused(OneNode("Tile", {"1", "3"}, {{1, -1}}), "'bad' (Tile)");
  ExpectRefused(OneNode("Reshape", {"2", "3"}, {{kHuge, -1}}), "'bad' (Reshape)");
  ExpectRefused(OneNode("Reshape", {"2", "3"}, {{-5, 3}}), "'bad' (Reshape)");
  ExpectRefused(OneNode("Unsqueeze", {"2", "3"}, {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}),
                "'bad' (Unsqueeze)");
  ExpectRefused(OneNode("Unsqueeze", {"2", "3"}, {{kHuge}}), "'bad' (Unsqueeze)");
}

TEST(HostileModelsTest, SlicesOfAnyNumbersAreCounted) {
  for (const int64_t number :
       {-kHugest - 1, -kHugest, -kHuge, int64_t{-1}, int64_t{0}, int64_t{1}, kHuge, kHugest})
    for (const int64_t step : {-kHugest - 1, -kHugest, int64_t{-1}, int64_t{1}, kHuge, kHugest})
      for (const std::vector<std::string>& dims :
           {std::vector<std::string>{"2", "7"}, {"N", "7"}, {"N", "L"}}) {
        const absl::Status status = Load(OneNode("Slice", dims, {{number}, {-number - 1}, {1}, {step}}));
        EXPECT_TRUE(status.ok() || absl::StrContains(status.message(), "'bad'") ||
                    absl::StrContains(status.message(), "'y'"))
            << status;
      }
}

TEST(HostileModelsTest, AttributesAreBounded) {
  const auto pooled = [](const std::string& attr, std::vector<int64_t> values) {
    return OneNode("MaxPool", {"1", "2", "8", "8"}, {}, [&](onnx::NodeProto* node) {
      if (attr != "kernel_shape") SetInts(node, "kernel_shape", {2, 2});
      SetInts(node, attr, values);
    });
  };
  for (const int64_t number : {kHuge, kHugest, -kHugest - 1, int64_t{-1}, int64_t{0}}) {
    ExpectRefused(pooled("kernel_shape", {number, number}), "'bad'");
    ExpectRefused(pooled("strides", {number, 1}), "'bad'");
    ExpectRefused(pooled("dilations", {1, number}), "'bad'");
    if (number != 0) ExpectRefused(pooled("pads", {number, 0, number, 0}), "'bad'");
  }
  for (const std::string op :
       {"Softmax", "Concat", "Flatten", "ArgMax", "CumSum", "Split", "Gather", "LogSoftmax"}) {
    const bool takes_integers = op == "CumSum" || op == "Gather";
    ExpectRefused(OneNode(op, {"2", "3"},
                          takes_integers ? std::vector<std::vector<int64_t>>{{kHuge}}
                                         : std::vector<std::vector<int64_t>>{},
                          [&](onnx::NodeProto* node) {
                            if (op != "CumSum") SetInt(node, "axis", kHuge);
                          }),
                  "'bad'");
  }
  ExpectRefused(OneNode("DepthToSpace", {"1", "4", "2", "2"}, {},
                        [](onnx::NodeProto* node) { SetInt(node, "blocksize", kHuge); }),
                "'bad'");
  ExpectRefused(
      OneNode("Conv", {"1", "2", "4", "4"}, {}, [](onnx::NodeProto* node) { SetInt(node, "group", kHuge); }),
      "'bad'");
}

TEST(HostileModelsTest, FilledTensorsAndRangesAreBounded) {
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{kHuge}, {1 << 20, 1 << 20, 1 << 20}, {-1, 4}}) {
    ModelBuilder builder;
    builder.Input("x", {"1"});
    builder.Output("y");
    builder.Int64s("s", shape);
    builder.Node("ConstantOfShape", {"s"}, {"f"}, "bad");
    builder.Node("Add", {"x", "f"}, {"y"});
    ExpectRefused(builder, "'bad'");
  }
  for (const auto& [start, limit, step] : {std::tuple{int64_t{0}, kHuge, int64_t{1}},
                                           {-kHugest, kHugest, int64_t{1}},
                                           {kHugest, -kHugest - 1, int64_t{-1}},
                                           {int64_t{0}, int64_t{4}, int64_t{0}}}) {
    ModelBuilder builder;
    builder.Input("x", {"1"});
    builder.Output("y");
    for (const auto& [name, number] : {std::pair{"a", start}, {"b", limit}, {"c", step}})
      builder.Int64s(name, {number})->clear_dims();
    builder.Node("Range", {"a", "b", "c"}, {"r"}, "bad");
    SetInt(builder.Node("Cast", {"r"}, {"f"}, "cast"), "to", onnx::TensorProto::FLOAT);
    builder.Node("Add", {"x", "f"}, {"y"}, "add");
    ExpectRefused(builder, "'bad'");
  }
}

// How long a load takes, whether it ends well or not.
double LoadSeconds(const ModelBuilder& builder) {
  const absl::Time start = absl::Now();
  (void)Load(builder);
  return absl::ToDoubleSeconds(absl::Now() - start);
}

// The product of (d0 + 1) ... (d9 + 1) has 1,024 terms, and each further product squares their number.
TEST(HostileModelsTest, ProductsOfSumsEndSoon) {
  ModelBuilder builder;
  std::vector<std::string> dims;
  for (int i = 0; i < 10; ++i) dims.push_back(absl::StrCat("d", i));
  builder.Input("x", dims);
  builder.Output("y");
  std::vector<int64_t> pads(20, 0);
  std::fill(pads.begin(), pads.begin() + 10, 1);
  builder.Int64s("pads", pads);
  builder.Int64s("flat", {-1});
  builder.Node("Pad", {"x", "pads"}, {"p"}, "pad");
  builder.Node("Reshape", {"p", "flat"}, {"f"}, "flatten");
  builder.Node("Shape", {"f"}, {"s0"});
  for (int i = 0; i < 40; ++i)
    builder.Node("Mul", {absl::StrCat("s", i), absl::StrCat("s", i)}, {absl::StrCat("s", i + 1)});
  builder.Node("Expand", {"f", "s40"}, {"y"});
  EXPECT_LT(LoadSeconds(builder), 5);
}

// Each length is the one before and half of it, so that its text is twice as long.
TEST(HostileModelsTest, LengthsOfExponentialTextEndSoon) {
  ModelBuilder builder;
  builder.Input("x0", {"1", "1", "L"});
  for (int i = 0; i < 60; ++i) {
    const std::string x = absl::StrCat("x", i), half = absl::StrCat("half", i);
    auto* pool = builder.Node("MaxPool", {x}, {half}, absl::StrCat("pool", i));
    SetInts(pool, "kernel_shape", {1});
    SetInts(pool, "strides", {2});
    SetInt(builder.Node("Concat", {x, half}, {absl::StrCat("x", i + 1)}), "axis", 2);
  }
  builder.Output("x60");
  EXPECT_LT(LoadSeconds(builder), 5);
}

TEST(HostileModelsTest, FoldingStopsAtABound) {
  // 400 tensors of 64 MiB each, from a file of 20 KB.
  ModelBuilder builder;
  builder.Input("x", {"1"});
  builder.Int64s("s", {4096, 4096});
  for (int i = 0; i < 400; ++i) {
    builder.Node("ConstantOfShape", {"s"}, {absl::StrCat("f", i)});
    builder.Node("Sin", {absl::StrCat("f", i)}, {absl::StrCat("y", i)}, absl::StrCat("sin", i));
    builder.Output(absl::StrCat("y", i));
  }
  const absl::Status status = Load(builder);
  EXPECT_TRUE(status.ok() || absl::IsResourceExhausted(status)) << status;
}

TEST(HostileModelsTest, ProductsOfConstantsStopAtABound) {
  // 2^32 multiply-adds a node: a fraction of a second for a kernel, minutes for the reference that folds.
  ModelBuilder builder;
  builder.Input("x", {"1"});
  builder.Int64s("s", {1 << 10, 1 << 12});
  builder.Int64s("t", {1 << 12, 1 << 10});
  builder.Node("ConstantOfShape", {"s"}, {"a"});
  builder.Node("ConstantOfShape", {"t"}, {"b"});
  for (int i = 0; i < 10; ++i) {
    builder.Node("MatMul", {"a", "b"}, {absl::StrCat("m", i)}, absl::StrCat("product", i));
    builder.Node("ReduceMax", {absl::StrCat("m", i)}, {absl::StrCat("y", i)});
    builder.Output(absl::StrCat("y", i));
  }
  EXPECT_LT(LoadSeconds(builder), 30);
}

TEST(HostileModelsTest, LongChainsLoadInSeconds) {
  for (const auto& [op, nodes] : {std::pair{"Softmax", 100'000}, {"Identity", 30'000}}) {
    ModelBuilder builder(/*opset=*/11);
    builder.Input("x0", {"N", "4"});
    for (int i = 0; i < nodes; ++i) builder.Node(op, {absl::StrCat("x", i)}, {absl::StrCat("x", i + 1)});
    builder.Output(absl::StrCat("x", nodes));
    EXPECT_LT(LoadSeconds(builder), 40) << op;
  }
}

// Small operators take the places of composed ones, under names of their own.
TEST(HostileModelsTest, ManyComposedOperatorsOfOneNameLoadInSeconds) {
  ModelBuilder builder;
  builder.Input("x", {"N", "4"});
  for (int i = 0; i < 5'000; ++i) {
    builder.Node("Shrink", {"x"}, {absl::StrCat("y", i)}, "same");
    builder.Output(absl::StrCat("y", i));
  }
  EXPECT_LT(LoadSeconds(builder), 30);
}

// Each condition follows from the branch before.
TEST(HostileModelsTest, ChainsOfBranchesLoadInSeconds) {
  ModelBuilder builder;
  builder.Input("y0", {"N", "2"});
  builder.Floats("zero", {}, {0});
  constexpr int kBranches = 1'000;
  for (int i = 0; i < kBranches; ++i) {
    const std::string y = absl::StrCat("y", i), most = absl::StrCat("most", i), c = absl::StrCat("c", i);
    SetInt(builder.Node("ReduceMax", {y}, {most}), "keepdims", 0);
    builder.Node("Greater", {most, "zero"}, {c});
    auto* node = builder.Node("If", {c}, {absl::StrCat("y", i + 1)});
    for (const auto& [name, op] : {std::pair{"then_branch", "Relu"}, {"else_branch", "Neg"}}) {
      auto* branch = AddAttr(node, name, onnx::AttributeProto::GRAPH)->mutable_g();
      auto* inner = branch->add_node();
      inner->set_op_type(op);
      inner->add_input(y);
      inner->add_output(absl::StrCat(op, i));
      branch->add_output()->set_name(absl::StrCat(op, i));
    }
  }
  builder.Output(absl::StrCat("y", kBranches));
  EXPECT_LT(LoadSeconds(builder), 30);
}

TEST(HostileModelsTest, NodesHaveABoundOnInputs) {
  for (const int inputs : {300'000, 16'384}) {
    ModelBuilder builder;
    builder.Input("x", {"N", "1"});
    std::vector<std::string> names;
    for (int i = 0; i < inputs; ++i) {
      names.push_back(absl::StrCat("r", i));
      builder.Node("Identity", {"x"}, {names.back()});
    }
    SetInt(builder.Node("Concat", names, {"y"}, "wide"), "axis", 1);
    builder.Output("y");
    EXPECT_LT(LoadSeconds(builder), 20) << inputs;
  }
  ModelBuilder builder;
  builder.Input("x", {"N", "1"});
  SetInt(builder.Node("Concat", std::vector<std::string>(300'000, "x"), {"y"}, "wide"), "axis", 1);
  builder.Output("y");
  EXPECT_THAT(Load(builder),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("node 'wide': has 300000 inputs")));
}

}  // namespace
}  // namespace hachi
