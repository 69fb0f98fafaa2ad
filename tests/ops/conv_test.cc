#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/cpu/isa.h"
#include "engine/graph/graph.h"
#include "engine/ops/op.h"
#include "tests/ops/op_tester.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

struct Geometry {
  int batch, channels, out_channels, size, kernel, groups;
  const char* attrs;
};

const Geometry kGeometries[] = {
    {1, 3, 16, 9, 3, 1, "pads=[1,1,1,1]"},
    {2, 16, 32, 8, 1, 1, ""},
    {3, 17, 19, 7, 3, 1, "pads=[0,1,2,1], strides=[2,2]"},
    {1, 32, 48, 6, 3, 1, "pads=[2,2,2,2], dilations=[2,2]"},
    {2, 32, 32, 8, 3, 32, "pads=[1,1,1,1], strides=[2,1]"},
    {2, 21, 21, 7, 3, 21, "pads=[1,1,1,1]"},
    {1, 8, 12, 7, 3, 4, "pads=[1,1,1,1]"},
    {4, 1, 16, 12, 5, 1, "auto_pad=\"SAME_UPPER\", strides=[2,2]"},
    {1, 128, 64, 5, 1, 1, ""},
};

std::string GraphText(const Geometry& g, std::string x_type, std::string w_type, std::string w_quant,
                      std::string tail, std::string extra_input = "") {
  const std::string w_range = w_type != "s8" ? "-1 1" : SumsBytesExactly() ? "-127 127" : "-63 63";
  return absl::StrCat("graph g {\n input x: ", x_type, "\n", extra_input, " const w: ", w_type, "[",
                      g.out_channels, ",", g.channels / g.groups, ",", g.kernel, ",", g.kernel, "]", w_quant,
                      " = random 5 ", w_range, "\n const b: f32[", g.out_channels,
                      "] = random 7 -1 1\n conv: Conv(x, w, b", extra_input.empty() ? "" : ", r",
                      ") {group=", g.groups, g.attrs[0] ? ", " : "", g.attrs, "}", tail,
                      "\n output o = y\n}");
}

std::string ShapeOf(const Geometry& g) {
  return absl::StrCat("[", g.batch, ",", g.channels, ",", g.size, ",", g.size, "]");
}

// The inferred output shape, so that a layout can be asked for.
std::string OutputShape(const Geometry& g) {
  auto graph = ParseGraph(GraphText(g, "f32" + ShapeOf(g), "f32", "", " -> y: f32[?]"));
  EXPECT_OK(graph.status());
  EXPECT_OK(InferNode(*graph->nodes().front()));
  return ShapeText(*graph->outputs()[0].value->dims);
}

std::string PerChannel(int channels) {
  std::string quant = " quant(axis=0";
  for (int c = 0; c < channels; ++c) absl::StrAppend(&quant, ",", 0.001 * (1 + c % 5), ":0");
  return quant + ")";
}

TEST(ConvTest, Fp32AgreesWithTheReference) {
  for (const Geometry& g : kGeometries)
    EXPECT_OK(RunOpCase(
        {.graph = GraphText(g, absl::StrCat("f32", ShapeOf(g), " channels_last"), "f32", "",
                            absl::StrCat(" post clip(0,6) -> y: f32", OutputShape(g), " channels_last"))}))
        << g.attrs << g.channels;
}

TEST(ConvTest, Int8AgreesWithTheReferenceWithAnyZeroPoint) {
  for (const char* x_quant : {"u8 quant(0.02:0)", "u8 quant(0.02:119)", "s8 quant(0.02:0)"})
    for (const char* y_quant : {"u8 quant(0.05:0)", "u8 quant(0.05:100)", "s8 quant(0.05:-3)"})
      for (const Geometry& g : kGeometries) {
        const std::string x(x_quant), y(y_quant);
        if (x[0] == 's' && !SumsBytesExactly()) continue;
        EXPECT_OK(RunOpCase(
            {.graph = GraphText(g, absl::StrCat(x.substr(0, 2), ShapeOf(g), " channels_last", x.substr(2)),
                                "s8", PerChannel(g.out_channels),
                                absl::StrCat(" post clip(-1,3) -> y: ", y.substr(0, 2), OutputShape(g),
                                             " channels_last", y.substr(2)))}))
            << x_quant << y_quant << g.attrs << g.channels;
      }
}

TEST(ConvTest, Int8ResidualIsAddedBeforeTheClip) {
  for (const char* r_quant : {"u8 quant(0.03:0)", "u8 quant(0.03:77)", "s8 quant(0.03:0)"})
    for (const Geometry& g : kGeometries) {
      const std::string r(r_quant), shape = OutputShape(g);
      EXPECT_OK(RunOpCase(
          {.graph = GraphText(
               g, absl::StrCat("u8", ShapeOf(g), " channels_last quant(0.02:0)"), "s8",
               PerChannel(g.out_channels),
               absl::StrCat(" post add(3) clip(0,inf) -> y: u8", shape, " channels_last quant(0.04:0)"),
               absl::StrCat(" input r: ", r.substr(0, 2), shape, " channels_last", r.substr(2), "\n"))}))
          << r_quant << g.attrs << g.channels;
    }
}

TEST(ConvTest, Int8WithFp32ResultAndEveryActivationAgrees) {
  const Geometry& g = kGeometries[2];
  for (const char* post : {"leaky_relu(0.1)", "sigmoid()", "tanh()", "hard_sigmoid(0.2,0.5)", "hard_swish()",
                           "swish(1)", "gelu()", "elu(1)", "hard_swish() clip(0,2)"}) {
    EXPECT_OK(RunOpCase(
        {.graph = GraphText(g, absl::StrCat("u8", ShapeOf(g), " channels_last quant(0.02:0)"), "s8",
                            PerChannel(g.out_channels),
                            absl::StrCat(" post ", post, " -> y: f32", OutputShape(g), " channels_last"))}))
        << post;
    EXPECT_OK(RunOpCase({.graph = GraphText(g, absl::StrCat("u8", ShapeOf(g), " channels_last quant(0.02:0)"),
                                            "s8", PerChannel(g.out_channels),
                                            absl::StrCat(" post ", post, " -> y: u8", OutputShape(g),
                                                         " channels_last quant(0.01:50)"))}))
        << post;
  }
}

TEST(ConvTest, DepthwiseRunsOnOurOwnKernel) {
  for (const char* attrs : {"pads=[1,1,1,1]", "pads=[1,1,1,1], strides=[2,2]", "pads=[0,1,1,0]"})
    for (const char* y_quant : {"u8 quant(0.05:0)", "s8 quant(0.05:-3)"}) {
      const Geometry g = {2, 80, 80, 9, 3, 80, attrs};
      const std::string y(y_quant);
      EXPECT_OK(
          RunOpCase({.graph = GraphText(g, absl::StrCat("u8", ShapeOf(g), " channels_last quant(0.02:0)"),
                                        "s8", PerChannel(80),
                                        absl::StrCat(" post clip(-1,3) -> y: ", y.substr(0, 2),
                                                     OutputShape(g), " channels_last", y.substr(2))),
                     .kernel = "hachi_depthwise",
                     .threads = 2}))
          << attrs << y_quant;
    }
}

// " quant(axis=1,0.02:3,0.04:3,...)".
std::string ByChannel(int64_t channels, int zero_point) {
  std::string text = " quant(axis=1";
  for (int64_t c = 0; c < channels; ++c)
    absl::StrAppend(&text, ",", 0.02 * static_cast<double>(c % 5 + 1), ":", zero_point);
  return text + ")";
}

TEST(ConvTest, DepthwiseTakesWhatModelsFuse) {
  for (const char* post : {"", " post clip(0,inf)", " post clip(0,6)", " post hard_swish()", " post swish(1)",
                           " post leaky_relu(0.1)", " post hard_swish() linear(0.5,-1)",
                           " post hard_swish() linear(0.5,-1) clip(0,1)"})
    for (const bool by_channel : {false, true}) {
      const Geometry g = {1, 24, 24, 9, 5, 24, "pads=[2,2,2,2], strides=[2,1]"};
      EXPECT_OK(
          RunOpCase({.graph = GraphText(g, absl::StrCat("u8", ShapeOf(g), " channels_last quant(0.02:117)"),
                                        "s8", PerChannel(24),
                                        absl::StrCat(post, " -> y: u8", OutputShape(g), " channels_last",
                                                     by_channel ? ByChannel(24, 30) : " quant(0.05:30)")),
                     .kernel = "hachi_depthwise"}))
          << post << by_channel;
    }
}

TEST(ConvTest, LongWindowsOfFewChannelsAreCopiedSideBySide) {
  struct Case {
    const char *x, *w, *attrs, *y;
  };
  for (const Case& c : {Case{"[3,1,400]", "[40,1,64]", "strides=[16]", "[3,40,22]"},
                        {"[2,1,100]", "[33,1,50]", "strides=[25], pads=[30,25]", "[2,33,5]"},
                        {"[2,3,30,31]", "[20,3,14,11]", "strides=[7,9], pads=[3,0,2,4]", "[2,20,4,3]"}})
    for (const char* types :
         {"u8 quant(0.02:7) f32", "s8 quant(0.02:-3) f32", "u8 quant(0.02:0) u8 quant(0.3:20)"}) {
      if (types[0] == 's' && !SumsBytesExactly()) continue;
      const std::vector<std::string> words = absl::StrSplit(types, ' ');
      EXPECT_OK(RunOpCase(
          {.graph = absl::StrCat("graph g { input x: ", words[0], c.x, " channels_last ", words[1],
                                 "\n const w: s8", c.w, " quant(0.01:0) = random 5 -63 63\n const b: f32[",
                                 std::string(c.y).substr(3, 2), "] = random 6 -1 1\n c: Conv(x, w, b) {",
                                 c.attrs, "} post leaky_relu(0.1) -> y: ", words[2], c.y, " channels_last ",
                                 words.size() > 3 ? words[3] : "", "}"),
           .kernel = "hachi_windows",
           .threads = 2}))
          << c.x << types;
    }
}

TEST(ConvTest, PointwiseTakesWhatModelsFuse) {
  for (const char* post : {"", " post clip(0,6)", " post hard_swish()", " post hard_swish() linear(0.5,-1)",
                           " post add(3) clip(0,inf)", " post add(3) swish(1)"})
    for (const char* to : {"u8 quant(0.05:30)", "f32"}) {
      if (absl::StrContains(post, "add") && to[0] == 'f') continue;
      const std::string y(to);
      EXPECT_OK(
          RunOpCase({.graph = absl::StrCat("graph g { input x: u8[2,24,5,5] channels_last quant(0.02:7)\n "
                                           "input r: s8[2,40,5,5] channels_last "
                                           "quant(0.03:-5)\n const w: s8[40,24,1,1]",
                                           PerChannel(40), " = random 5 -63 63\n c: Conv(x, w",
                                           absl::StrContains(post, "add") ? ", _, r)" : ")", post,
                                           " -> y: ", y.substr(0, y.find(' ')), "[2,40,5,5] channels_last",
                                           y[0] == 'u' ? y.substr(2) : "", " }"),
                     .kernel = "hachi_pointwise"}))
          << post << to;
    }
}

TEST(ConvTest, AnAxisOfOnePixelMayBeTheLast) {
  for (const char* types : {"f32", "u8"}) {
    const bool int8 = types[0] == 'u';
    const std::string layout = int8 ? " channels_last quant(0.02:3)" : " channels_last";
    EXPECT_OK(RunOpCase(
        {.graph = absl::StrCat("graph g { input x: ", types, "[2,16,40,1]", layout,
                               "\n const w: ", int8 ? "s8" : "f32", "[24,16,5,1]", int8 ? PerChannel(24) : "",
                               " = random 5 ", int8 ? "-63 63" : "-1 1",
                               "\n c: Conv(x, w) {pads=[2,0,1,0], strides=[2,1]} -> y: f32[2,24,20,1] "
                               "channels_last }")}))
        << types;
  }
}

TEST(ConvTest, ADepthwiseInputMayHaveAScaleForEachChannel) {
  for (const int zero_point : {0, 40}) {
    const Geometry g = {2, 80, 80, 9, 3, 80, "pads=[1,1,1,1]"};
    EXPECT_OK(RunOpCase(
        {.graph = GraphText(g, absl::StrCat("u8", ShapeOf(g), " channels_last", ByChannel(80, zero_point)),
                            "s8", PerChannel(80),
                            absl::StrCat(" -> y: s8", OutputShape(g), " channels_last quant(0.2:0)")),
         .kernel = "hachi_depthwise"}))
        << zero_point;
  }
}

TEST(ConvTest, AResultMayHaveAScaleForEachChannel) {
  const Geometry g = {2, 16, 40, 8, 1, 1, ""};
  for (const char* post : {"", " post clip(0,inf)", " post leaky_relu(0.1)", " post hard_swish()",
                           " post swish(1)", " post clip(0,3)", " post gelu() clip(0,2)"})
    for (const int zero_point : {0, 40})
      EXPECT_OK(
          RunOpCase({.graph = GraphText(g, absl::StrCat("u8", ShapeOf(g), " channels_last quant(0.02:0)"),
                                        "s8", PerChannel(40),
                                        absl::StrCat(post, " -> y: u8", OutputShape(g), " channels_last",
                                                     ByChannel(40, zero_point)))}))
          << post << zero_point;
}

TEST(ConvTest, TheKernelIsOfTheRungThatTheEnvironmentAllows) {
  auto graph = ParseGraph(GraphText(kGeometries[1], "u8[2,16,8,8] channels_last quant(0.02:0)", "s8",
                                    " quant(0.01:0)", " -> y: f32[2,32,8,8] channels_last"));
  ASSERT_OK(graph.status());
  const Node& node = *graph->nodes().front();
  WeightCache cache;
  const Bindings bindings;
  const auto step = LowerNode({node, bindings, /*threads=*/1, cache});
  ASSERT_OK(step.status());
  EXPECT_EQ((*step)->info().kernel.isa, DetectIsa());
  EXPECT_EQ((*step)->info().kernel.vnni, HasVnni(DetectIsa()));
}

// An INT8 convolution that all three kernels could take but for its shape, lowered with the context's own
// rung and kernel.
class ConvOffers {
 public:
  explicit ConvOffers(const Geometry& g, Isa isa = DetectIsa(), std::string_view kernel = "")
      : graph_(*ParseGraph(GraphText(
            g, absl::StrCat("u8", ShapeOf(g), " channels_last quant(0.02:0)"), "s8", " quant(0.01:0)",
            absl::StrCat(" -> y: u8", OutputShape(g), " channels_last quant(0.05:0)")))),
        context_{*graph_.nodes().front(), bindings_, /*threads=*/1, cache_, isa, kernel} {}

  absl::StatusOr<KernelFacts> Kernel() const {
    const auto step = LowerNode(context_);
    if (!step.ok()) return step.status();
    return (*step)->info().kernel;
  }
  const LowerContext& context() const { return context_; }

 private:
  const Graph graph_;
  const Bindings bindings_;
  WeightCache cache_;
  const LowerContext context_;
};

constexpr Geometry kDepthwise = {1, 64, 64, 8, 3, 64, "pads=[1,1,1,1]"};

TEST(ConvTest, ALowerRungThanTheProcessesLeavesOurKernelsOut) {
  if (DetectIsa() < Isa::kAvx512Vnni) GTEST_SKIP() << "no AVX-512 VNNI";
  EXPECT_EQ(ConvOffers(kDepthwise).Kernel()->name, "hachi_depthwise");
  EXPECT_NE(ConvOffers(kDepthwise, Isa::kAvx512).Kernel()->name, "hachi_depthwise");
}

TEST(ConvTest, EveryOfferSaysWhyItDoesNotTakeANode) {
  if (DetectIsa() != Isa::kAvx512Vnni) GTEST_SKIP() << "no AVX-512 VNNI, or tiles";
  const auto answers = AskOffers(ConvOffers(kGeometries[0]).context());
  ASSERT_EQ(answers.size(), 4);
  using testing::HasSubstr;
  EXPECT_THAT(answers[0].answer.message(),
              HasSubstr("weights are [16,3,3,3] in 1 groups, expected one filter"));
  EXPECT_THAT(answers[1].answer.message(), HasSubstr("weights are [16,3,3,3], expected 1 x 1"));
  EXPECT_THAT(answers[2].answer.message(), HasSubstr("3 channels in rows of 3, expected at most 4 and 32"));
  EXPECT_EQ(answers[3].offer, "onednn");
  EXPECT_OK(answers[3].answer);
}

TEST(ConvTest, AKernelThatIsAskedForIsTakenOrAnError) {
  const auto with = [](std::string_view kernel) {
    return ConvOffers(kDepthwise, DetectIsa(), kernel).Kernel();
  };
  EXPECT_TRUE(with("ref")->reference);
  EXPECT_FALSE(with("onednn")->reference);
  EXPECT_THAT(with("hachi_pointwise"), StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_THAT(with("fastest"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       testing::HasSubstr("expected one of hachi_depthwise, hachi_pointwise, "
                                          "hachi_windows, onednn, ref")));
}

TEST(ConvTest, ContradictionsAreRefused) {
  const auto infer = [](const char* text) {
    auto graph = ParseGraph(text);
    EXPECT_OK(graph.status());
    return InferNode(*graph->nodes().front());
  };
  using testing::HasSubstr;
  EXPECT_THAT(
      infer("graph g { input x: f32[1,3,8,8] const w: f32[4,2,3,3] = splat 1 c: Conv(x, w) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("3 channels, expected 2")));
  EXPECT_THAT(infer("graph g { input x: f32[1,4,8,8] const w: f32[3,2,3,3] = splat 1 c: Conv(x, w) {group=2} "
                    "-> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("group is 2, expected a divisor of 3")));
  EXPECT_THAT(infer("graph g { input x: f32[1,2,8,8] const w: f32[3,2,3,3] = splat 1 c: Conv(x, w) "
                    "{strides=[0,1]} -> y: f32[?] }"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'strides' has 0")));
  EXPECT_THAT(
      infer("graph g { input x: f32[1,2,2,8] const w: f32[3,2,3,3] = splat 1 c: Conv(x, w) -> y: f32[?] }"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("reaches over 3 of 2")));
}

}  // namespace
}  // namespace hachi
