#include <gtest/gtest.h>

#include "tests/onnx/model_builder.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

// The lines of a model with inputs x: f32[2,3,4] and m: f32[N,10] behind its inputs.
std::string Imported(const ModelBuilder& model) {
  auto graph = model.Import();
  if (!graph.ok()) return graph.status().ToString();
  graph->RemoveDead();
  const std::string text = ToText(*graph);
  const std::string header = "  input m: f32[N,10]\n";
  return text.substr(text.find(header) + header.size());
}

ModelBuilder Model(int64_t opset) {
  ModelBuilder model(opset);
  model.Input("x", {"2", "3", "4"});
  model.Input("m", {"N", "10"});
  model.Output("y");
  return model;
}

TEST(UpgradeTest, AttributesOfOldOpsetsBecomeInputs) {
  ModelBuilder model = Model(7);
  auto* clip = model.Node("Clip", {"x"}, {"a"}, "clip");
  SetFloat(clip, "max", 6);
  auto* slice = model.Node("Slice", {"a"}, {"b"}, "slice");
  SetInts(slice, "starts", {0});
  SetInts(slice, "ends", {1});
  SetInts(model.Node("Squeeze", {"b"}, {"c"}, "squeeze"), "axes", {0});
  auto* pad = model.Node("Pad", {"c"}, {"d"}, "pad");
  SetInts(pad, "pads", {0, 1, 0, 1});
  SetString(pad, "mode", "constant");
  SetInt(model.Node("TopK", {"d"}, {"e", "i"}, "top"), "k", 2);
  auto* mean = model.Node("ReduceMean", {"e"}, {"y"}, "mean");
  SetInts(mean, "axes", {-1});
  SetInt(mean, "keepdims", 0);
  EXPECT_EQ(Imported(model), R"(  const a_max: f32[] = 6
  const b_ends: s64[1] = 1
  const b_starts: s64[1] = 0
  const c_axes: s64[1] = 0
  const d_pads: s64[4] = 0 1 0 1
  const e_k: s64[1] = 2
  const y_axes: s64[1] = -1
  clip: Clip(x, _, a_max) -> a: f32[?]
  slice: Slice(a, b_starts, b_ends) -> b: f32[?]
  squeeze: Squeeze(b, c_axes) -> c: f32[?]
  pad: Pad(c, d_pads) {mode="constant"} -> d: f32[?]
  top: TopK(d, e_k) -> e: f32[?], i: f32[?]
  mean: ReduceMean(e, y_axes) {keepdims=0} -> y: f32[?]
  output y = y
}
)");
}

TEST(UpgradeTest, AttributesOfTheOpsetThatTookThemAwayAreLeftToTheOperator) {
  ModelBuilder model = Model(18);
  SetInts(model.Node("ReduceMean", {"x"}, {"y"}, "mean"), "axes", {1});
  EXPECT_THAT(Imported(model), HasSubstr("ReduceMean(x) {axes=[1]}"));
}

TEST(UpgradeTest, AttributeAndInputAtOnceAreRefused) {
  ModelBuilder model = Model(12);
  SetInts(model.Node("Squeeze", {"x", "m"}, {"y"}, "squeeze"), "axes", {1});
  EXPECT_THAT(model.Import(),
              StatusIs(StatusCode::kInvalidArgument,
                       HasSubstr("node 'squeeze': Squeeze of opset 12: attribute 'axes' is also")));
}

TEST(UpgradeTest, EqualSplitsSayIntoHowMany) {
  ModelBuilder model = Model(13);
  model.Node("Split", {"x"}, {"y", "z"}, "split");
  EXPECT_THAT(Imported(model), HasSubstr("Split(x) {num_outputs=2}"));
}

TEST(UpgradeTest, OldSoftmaxKeepsItsMatrixFormUnlessItIsTheLastAxis) {
  ModelBuilder model = Model(12);
  model.Node("Softmax", {"x"}, {"y"}, "softmax");
  EXPECT_THAT(Imported(model), testing::StartsWith("  softmax: Softmax(x) {axis=1, matrix=1} -> y"));

  ModelBuilder last = Model(12);
  SetInt(last.Node("Softmax", {"x"}, {"y"}, "softmax"), "axis", -1);
  EXPECT_THAT(Imported(last), testing::StartsWith("  softmax: Softmax(x) {axis=-1} -> y"));
}

TEST(UpgradeTest, NewSoftmaxIsLeftAlone) {
  ModelBuilder model = Model(13);
  SetInt(model.Node("Softmax", {"x"}, {"y"}, "softmax"), "axis", 1);
  EXPECT_THAT(Imported(model), testing::StartsWith("  softmax: Softmax(x) {axis=1}"));
}

TEST(UpgradeTest, UpsampleBecomesResize) {
  ModelBuilder model = Model(7);
  auto* upsample = model.Node("Upsample", {"x"}, {"y"}, "up");
  auto* scales = AddAttr(upsample, "scales", onnx::AttributeProto::FLOATS);
  for (const float scale : {1.0f, 2.0f, 2.0f}) scales->add_floats(scale);
  EXPECT_THAT(Imported(model),
              HasSubstr("up: Resize(x, _, y_scales) "
                        R"({coordinate_transformation_mode="asymmetric", nearest_mode="floor"})"));
}

TEST(UpgradeTest, OldResizeRoundsUpWhenItShrinks) {
  ModelBuilder model = Model(10);
  model.Floats("s", {3}, {1, 0.5f, 0.5f});
  model.Node("Resize", {"x", "s"}, {"y"}, "down");
  EXPECT_THAT(Imported(model), HasSubstr(R"(nearest_mode="ceil")"));

  ModelBuilder mixed = Model(10);
  mixed.Floats("s", {3}, {1, 0.5f, 2});
  mixed.Node("Resize", {"x", "s"}, {"y"}, "odd");
  EXPECT_THAT(mixed.Import(), StatusIs(StatusCode::kUnimplemented, HasSubstr("node 'odd'")));
}

TEST(UpgradeTest, EmptyTensorsOfResizeAreLeftOut) {
  ModelBuilder model = Model(11);
  model.Floats("roi", {0}, {});
  model.Floats("s", {3}, {1, 2, 2});
  model.Node("Resize", {"x", "roi", "s"}, {"y"}, "up");
  EXPECT_THAT(Imported(model), HasSubstr("up: Resize(x, _, s)"));
}

TEST(UpgradeTest, BatchNormalizationNeverTrains) {
  for (const char* attr : {"spatial", "training_mode"}) {
    ModelBuilder model = Model(std::string(attr) == "spatial" ? 7 : 15);
    model.Floats("s", {3}, {1, 1, 1});
    SetInt(model.Node("BatchNormalization", {"x", "s", "s", "s", "s"}, {"y"}, "bn"), attr,
           std::string(attr) == "spatial" ? 0 : 1);
    EXPECT_THAT(model.Import(), StatusIs(StatusCode::kUnimplemented, HasSubstr("node 'bn'")));
  }
}

TEST(UpgradeTest, RenamedOperatorsAndDefaultsAreCaughtUp) {
  ModelBuilder model = Model(10);
  model.Node("Scatter", {"x", "x", "x"}, {"y"}, "scatter");
  EXPECT_THAT(Imported(model), HasSubstr("scatter: ScatterElements(x, x, x)"));

  ModelBuilder grid = Model(16);
  grid.Node("GridSample", {"x", "x"}, {"g"}, "grid");
  grid.Node("RoiAlign", {"g", "x", "x"}, {"y"}, "roi");
  EXPECT_THAT(Imported(grid), HasSubstr(R"(grid: GridSample(x, x) {mode="linear"})"));

  ModelBuilder roi = Model(10);
  roi.Node("RoiAlign", {"x", "x", "x"}, {"y"}, "roi");
  EXPECT_THAT(Imported(roi), HasSubstr(R"({coordinate_transformation_mode="output_half_pixel"})"));

  ModelBuilder group = Model(18);
  group.Node("GroupNormalization", {"x", "x", "x"}, {"y"}, "gn");
  EXPECT_THAT(Imported(group), HasSubstr("gn: GroupNormalization(x, x, x) {scales_groups=1}"));
}

TEST(UpgradeTest, OperandsThatWereToldTheirAxisAreAligned) {
  ModelBuilder model = Model(6);
  auto* add = model.Node("Add", {"x", "x"}, {"y"}, "add");
  SetInt(add, "broadcast", 1);
  SetInt(add, "axis", 1);
  EXPECT_THAT(Imported(model), HasSubstr("AlignAxes(x, x) {axis=1} -> add_aligned"));
}

TEST(UpgradeTest, FusedOperatorsAreTakenApart) {
  ModelBuilder model = Model(17);
  model.Node("FastGelu", {"x"}, {"y"}, "gelu")->set_domain("com.microsoft");
  EXPECT_THAT(Imported(model), HasSubstr(R"(Gelu(x) {approximate="tanh"})"));
  ModelBuilder unknown = Model(17);
  unknown.Node("Sampling", {"x"}, {"y"}, "s")->set_domain("com.microsoft");
  EXPECT_THAT(Imported(unknown), HasSubstr("com.microsoft.Sampling(x)"));
}

TEST(UpgradeTest, AttributesOfTheWrongTypeAreRefused) {
  ModelBuilder model = Model(11);
  SetString(model.Node("Softmax", {"x"}, {"y"}, "softmax"), "axis", "last");
  EXPECT_THAT(model.Import(), StatusIs(StatusCode::kInvalidArgument, HasSubstr("'axis' has another type")));
}

}  // namespace
}  // namespace hachi
