#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/cpu/team.h"
#include "engine/quant/foreign_table.h"
#include "tests/engine/demo_model.h"
#include "tests/engine/int8_steps.h"
#include "tests/onnx/model_builder.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

std::unique_ptr<Model> Load(const LoadOptions& options) {
  auto model = LoadModel(options);
  EXPECT_OK(model);
  if (!model.ok()) std::abort();
  return *std::move(model);
}

// The output of the test set's rows [first, first + rows).
std::vector<float> RunTestRows(const Model& model, RunContext& context, const TestSet& set, int64_t first,
                               int64_t rows) {
  const auto row_bytes = static_cast<int64_t>(model.signature().inputs[0].row_bytes());
  return RunRows(model, context, set.images.bytes().subspan(first * row_bytes, rows * row_bytes), rows);
}

double Accuracy(const Model& model, const TestSet& set) {
  const auto context = NewRunContext();
  int64_t correct = 0;
  for (int64_t first = 0; first < set.rows(); first += 32) {
    const int64_t rows = std::min<int64_t>(32, set.rows() - first);
    const auto output = RunTestRows(model, *context, set, first, rows);
    for (int64_t row = 0; row < rows; ++row) {
      const auto begin = output.begin() + row * 10;
      correct += std::max_element(begin, begin + 10) - begin == set.labels.As<int64_t>()[first + row];
    }
  }
  return static_cast<double>(correct) / static_cast<double>(set.rows());
}

TEST(EngineTest, Int8LosesAtMostOnePercentOfFp32sAccuracyByEveryRangeMethod) {
  const TestSet set = ReadTestSet();
  const double fp32 = Accuracy(*Load(DigitsOptions(Precision::kFp32)), set);
  EXPECT_GT(fp32, 0.99);
  for (const char* method : {"auto", "min_max", "percentile", "entropy", "mse"}) {
    LoadOptions options = DigitsOptions(Precision::kInt8);
    options.range_method = method;
    EXPECT_GE(Accuracy(*Load(options), set), fp32 * 0.99) << method;
  }
}

TEST(EngineTest, DemoModelRunsInInt8FromTheInputToTheLastProduct) {
  const auto model = Load(DigitsOptions(Precision::kInt8));
  for (const int64_t rows : {1, 8, 32}) {
    const auto steps = model->Steps(nullptr, rows);
    ASSERT_OK(steps);
    EXPECT_EQ(CheckInt8Steps(*steps), 14);
  }
  EXPECT_GE(model->info().int8_mac_ratio, 0.95);
  EXPECT_EQ(model->info().vnni_mac_ratio, HasVnni(DetectIsa()) ? model->info().int8_mac_ratio : 0);
  EXPECT_THAT(model->Steps(nullptr, 33),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("33 rows, expected 1 to 32")));
}

TEST(EngineTest, AnswerDoesNotDependOnTheBatchItRodeIn) {
  const TestSet set = ReadTestSet();
  for (const Precision precision : {Precision::kInt8, Precision::kFp32}) {
    const auto model = Load(DigitsOptions(precision));
    const auto context = NewRunContext();
    std::vector<float> alone;
    for (int64_t row = 0; row < 32; ++row) {
      const auto output = RunTestRows(*model, *context, set, row, 1);
      alone.insert(alone.end(), output.begin(), output.end());
    }
    for (int64_t rows = 2; rows <= 32; ++rows) {
      const auto together = RunTestRows(*model, *context, set, 0, rows);
      if (precision == Precision::kInt8 || DetectIsa() >= Isa::kAvx512) {
        EXPECT_EQ(std::memcmp(together.data(), alone.data(), together.size() * sizeof(float)), 0) << rows;
      } else {
        // oneDNN's FP32 kernels for AVX2 sum in another order for another batch.
        for (size_t i = 0; i < together.size(); ++i) EXPECT_NEAR(together[i], alone[i], 1e-5) << rows;
      }
    }
  }
}

TEST(EngineTest, RequestsShareABatchAndInputsMayBeCutAnywhere) {
  const TestSet set = ReadTestSet();
  const auto model = Load(DigitsOptions(Precision::kInt8));
  const auto context = NewRunContext();
  const std::vector<float> expected = RunTestRows(*model, *context, set, 0, 7);
  std::vector<Rows> requests;
  std::vector<std::vector<float>> outputs;
  const auto bytes = std::span<const std::byte>(set.images.bytes());
  size_t at = 0;
  for (const int64_t rows : {3, 1, 3}) {
    outputs.emplace_back(static_cast<size_t>(rows) * 10);
    const size_t size = static_cast<size_t>(rows) * 784;
    requests.push_back({.count = rows,
                        .inputs = {{bytes.subspan(at, 5), {}, bytes.subspan(at + 5, size - 5)}},
                        .outputs = {std::as_writable_bytes(std::span(outputs.back()))}});
    at += size;
  }
  requests[1].outputs = {{}};  // not wanted
  ASSERT_OK(model->Run(*context, requests));
  EXPECT_TRUE(std::equal(outputs[0].begin(), outputs[0].end(), expected.begin()));
  EXPECT_EQ(outputs[1], std::vector<float>(10));
  EXPECT_TRUE(std::equal(outputs[2].begin(), outputs[2].end(), expected.begin() + 40));
}

TEST(EngineTest, ThreadsRunOneModelAtTheSameTime) {
  const TestSet set = ReadTestSet();
  const auto model = Load(DigitsOptions(Precision::kInt8));
  const std::vector<float> expected = RunTestRows(*model, *NewRunContext(), set, 0, 5);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      const auto context = NewRunContext();
      for (int round = 0; round < 100; ++round) EXPECT_EQ(RunTestRows(*model, *context, set, 0, 5), expected);
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(EngineTest, TeamOfTwoGivesTheSameBytes) {
  const TestSet set = ReadTestSet();
  std::thread([&] {
    LoadOptions options = DigitsOptions(Precision::kInt8);
    const std::vector<float> one = RunTestRows(*Load(options), *NewRunContext(), set, 0, 32);
    options.threads = 2;
    EXPECT_EQ(RunTestRows(*Load(options), *NewRunContext(), set, 0, 32), one);
  }).join();
}

TEST(EngineTest, WideTeamGivesTheSameBytes) {
  const TestSet set = ReadTestSet();
  std::thread([&] {
    LoadOptions options = DigitsOptions(Precision::kInt8);
    options.wide_threads = 3;
    const auto model = Load(options);
    const auto shapes = model->ShapesOf({{model->signature().inputs[0].dims}}, {});
    ASSERT_OK(shapes);
    EXPECT_THAT((*shapes)->plans->run_times(Team::kWide), testing::IsEmpty());
    ASSERT_OK(model->MakePlans(*(*shapes)->plans, 32, Team::kWide));
    EXPECT_THAT((*shapes)->plans->run_times(Team::kWide), testing::SizeIs(6));  // 1, 2, 4 ... 32 rows
    const std::vector<float> wide = RunTestRows(*model, *NewRunContext(Team::kWide), set, 0, 31);
    SetTeam(1);
    EXPECT_EQ(RunTestRows(*model, *NewRunContext(), set, 0, 31), wide);
  }).join();
}

TEST(EngineTest, PixelsNormalisedInTheGatherEqualThoseNormalisedBefore) {
  const TestSet set = ReadTestSet();
  constexpr int64_t kRows = 32;
  LoadOptions options = DigitsOptions(Precision::kFp32);
  const std::vector<float> pixels = RunTestRows(*Load(options), *NewRunContext(), set, 0, kRows);
  options.inputs.clear();
  std::vector<float> normalised;
  for (int64_t i = 0; i < kRows * 784; ++i)
    normalised.push_back((static_cast<float>(set.images.As<uint8_t>()[i]) - 33.3f) * 0.0127f);
  const auto reals = RunRows(*Load(options), *NewRunContext(), std::as_bytes(std::span(normalised)), kRows);
  for (size_t i = 0; i < reals.size(); ++i) EXPECT_NEAR(pixels[i], reals[i], 1e-5);
}

TEST(EngineTest, ProfileTimesEveryStep) {
  const auto model = Load(DigitsOptions(Precision::kInt8));
  const auto profile = model->Profile(*NewRunContext(), nullptr, 8, 3);
  ASSERT_OK(profile);
  EXPECT_EQ(profile->size(), 18);
  int64_t macs = 0;
  for (const StepProfile& step : *profile) macs += step.macs;
  EXPECT_EQ(macs, 8 * model->info().macs_per_row);
  EXPECT_GT(profile->front().time, absl::ZeroDuration());
}

TEST(EngineTest, PinnedLayerRunsInFp32) {
  LoadOptions options = DigitsOptions(Precision::kInt8);
  options.layers = {{"stem*", Precision::kFp32}};
  const auto steps = Load(options)->Steps(nullptr, 1);
  ASSERT_OK(steps);
  EXPECT_EQ(steps->front().name, "stem.conv");
  EXPECT_EQ(steps->front().precision, "f32");
}

TEST(EngineTest, DecisionsSayWhatEachNodeRunsInAndWhy) {
  LoadOptions options = DigitsOptions(Precision::kInt8);
  options.layers = {{"head*", Precision::kFp32}};
  const std::string decisions = Load(options)->info().decisions;
  EXPECT_THAT(decisions, HasSubstr("stem.conv precision=int8 range=auto origin=default\n"));
  EXPECT_THAT(decisions, HasSubstr("head.conv precision=fp32 origin=pin\n"));
}

TEST(EngineTest, ModelCompiledFromItsOwnDecisionsIsTheSame) {
  LoadOptions options = DigitsOptions(Precision::kInt8);
  const auto first = Load(options);
  options.decisions = first->info().decisions;
  const auto again = Load(options);
  EXPECT_EQ(*again->PlanText(nullptr, 4), *first->PlanText(nullptr, 4));
  EXPECT_EQ(again->info().decisions, first->info().decisions);
}

TEST(EngineTest, DecisionsThatWereGivenOverruleTheRest) {
  LoadOptions options = DigitsOptions(Precision::kInt8);
  options.layers = {{"stem*", Precision::kInt8}};
  options.decisions = "stem.conv precision=fp32\nhead.conv precision=int8 kernel=onednn\n";
  const auto text = Load(options)->PlanText(nullptr, 1);
  EXPECT_THAT(*text, HasSubstr("post clip(0,inf) | f32"));
  const std::string other = *Load(DigitsOptions(Precision::kInt8))->PlanText(nullptr, 1);
  const auto line_of = [](const std::string& plan) {
    const size_t at = plan.find("head.conv: ");
    return plan.substr(at, plan.find('\n', at) - at);
  };
  if (HasVnni(DetectIsa())) {
    EXPECT_THAT(line_of(other), HasSubstr("hachi_pointwise"));
  }
  EXPECT_THAT(line_of(*text), Not(HasSubstr("hachi_pointwise")));
}

TEST(EngineTest, DecisionsThatCannotBeFollowedAreErrors) {
  LoadOptions options = DigitsOptions(Precision::kInt8);
  options.decisions = "nowhere precision=int8\n";
  EXPECT_THAT(LoadModel(options),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("'nowhere' matches no node")));
  options.decisions = "head.conv precision=int8 kernel=magic\n";
  EXPECT_THAT(LoadModel(options).status().message(), HasSubstr("magic"));
}

TEST(EngineTest, WarmUpFailsNoModelForItsZerosNorARunItsNeighbours) {
  ModelBuilder builder;
  for (const char* input : {"a", "b"}) builder.Input(input, {"N"}, onnx::TensorProto::INT64);
  builder.Node("Div", {"a", "b"}, {"quotient"});
  builder.Output("quotient");
  const TempDir dir;
  const auto model =
      Load({.name = "quotient", .model = dir.Write("model.onnx", builder.Bytes()), .max_batch_rows = 2});
  const int64_t a[] = {7, 7}, b[] = {0, 2};
  int64_t quotient[2] = {};
  const Rows rows{.count = 2,
                  .inputs = {{std::as_bytes(std::span(a))}, {std::as_bytes(std::span(b))}},
                  .outputs = {std::as_writable_bytes(std::span(quotient))}};
  ASSERT_OK(model->Run(*NewRunContext(), {&rows, 1}));
  EXPECT_THAT(quotient, testing::ElementsAre(0, 3));
}

// What a load of the demo model says when its table is `text`.
absl::Status LoadWithTable(const std::string& text) {
  const TempDir dir;
  LoadOptions options = DigitsOptions(Precision::kInt8);
  options.table = dir.Write("calibration.txt", text);
  return LoadModel(options).status();
}

TEST(EngineTest, WrongTablesAreRefused) {
  const auto text = ReadFile(DigitsDir() / "calibration.txt");
  ASSERT_OK(text);
  ASSERT_OK(LoadWithTable(*text));
  std::string other = *text;
  other[other.find("model: ") + 7] ^= 1;
  EXPECT_THAT(LoadWithTable(other), StatusIs(StatusCode::kFailedPrecondition, HasSubstr("SHA-256")));
  EXPECT_THAT(LoadWithTable(text->substr(0, text->size() / 2)), StatusIs(StatusCode::kDataLoss));
  EXPECT_THAT(LoadWithTable(text->substr(0, text->rfind('\n', text->size() - 2) + 1)),
              StatusIs(StatusCode::kDataLoss, HasSubstr("lines of 42 tensors, expected 43")));
  std::string renamed = *text;
  renamed.replace(renamed.find("\nstem.relu "), 11, "\nstem.rely ");
  EXPECT_THAT(LoadWithTable(renamed),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("'stem.relu': not found")));
}

// The demo model with a table that another tool could have written of it.
absl::StatusOr<std::unique_ptr<Model>> LoadWithForeignTable(const std::string& text,
                                                            std::map<std::string, Precision> pins = {}) {
  const TempDir dir;
  LoadOptions options = DigitsOptions(Precision::kInt8);
  options.table = dir.Write("calibration.txt", text);
  options.layers = std::move(pins);
  return LoadModel(options);
}

TEST(EngineTest, RangesOfOnnxRuntimesTableGiveAnInt8Model) {
  const auto own = CalibrationTable::Read(DigitsDir() / "calibration.txt");
  ASSERT_OK(own);
  const auto model = LoadWithForeignTable(OnnxRuntimeText(*own));
  ASSERT_OK(model);
  const ModelInfo& info = (*model)->info();
  EXPECT_GE(info.int8_mac_ratio, 0.95);
  EXPECT_EQ(info.table.tool, "ONNX Runtime");
  EXPECT_EQ(info.table.matched.size(), own->tensors().size());
  EXPECT_THAT(info.table.unmatched, testing::IsEmpty());
  EXPECT_THAT(info.table.missing, testing::IsEmpty());
  const TestSet set = ReadTestSet();
  EXPECT_GE(Accuracy(**model, set), Accuracy(*Load(DigitsOptions(Precision::kFp32)), set) - 0.01);
}

TEST(EngineTest, TensorsThatAForeignTableLacksStayFp32) {
  const auto own = CalibrationTable::Read(DigitsDir() / "calibration.txt");
  ASSERT_OK(own);
  std::string text = "TRT-8601-EntropyCalibration2\nsomebody else's: 3c008912\n";
  for (const auto& [name, entry] : own->tensors()) {
    const float magnitude = std::max(-entry.stats.min(), entry.stats.max());
    if (name != "image")
      absl::StrAppend(&text, name, ": ", absl::Hex(std::bit_cast<uint32_t>(magnitude / 127)), "\n");
  }
  const auto model = LoadWithForeignTable(text);
  ASSERT_OK(model);
  const ModelInfo& info = (*model)->info();
  EXPECT_GE(info.int8_mac_ratio, 0.5);
  EXPECT_THAT(info.table.unmatched, testing::ElementsAre("somebody else's"));
  EXPECT_THAT(info.table.missing, testing::ElementsAre("image"));
  // The first convolution reads the image: it is FP32, and nobody commented it out.
  EXPECT_THAT(info.decisions, HasSubstr("stem.conv precision=fp32 origin=default"));
  EXPECT_THAT(LoadWithForeignTable(text, {{"stem.conv", Precision::kInt8}}).status(),
              StatusIs(StatusCode::kOk));
  EXPECT_THAT(LoadWithForeignTable("TRT-8601-EntropyCalibration2\nx: 3c008912\n").status(),
              StatusIs(StatusCode::kFailedPrecondition, HasSubstr("TensorRT for another model")));
}

TEST(EngineTest, OptionsThatContradictTheModelAreRefused) {
  const auto refused = [](const auto& change) {
    LoadOptions options = DigitsOptions(Precision::kInt8);
    change(options);
    return LoadModel(options).status();
  };
  EXPECT_THAT(refused([](LoadOptions& o) { o.table.clear(); }),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("without a calibration table")));
  EXPECT_THAT(refused([](LoadOptions& o) { o.inputs["picture"] = {}; }),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("'picture'")));
  EXPECT_THAT(refused([](LoadOptions& o) {
                o.inputs["image"].mean = {1, 2, 3};
              }),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("input 'image'")));
  EXPECT_THAT(refused([](LoadOptions& o) { o.layers["nowhere"] = Precision::kFp32; }),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("'nowhere' matches no node")));
  EXPECT_THAT(refused([](LoadOptions& o) { o.range_method = "guess"; }),
              StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(refused([](LoadOptions& o) { o.model = "nowhere.onnx"; }), StatusIs(StatusCode::kNotFound));
  EXPECT_THAT(refused([](LoadOptions& o) { o.table = "nowhere.txt"; }), StatusIs(StatusCode::kNotFound));
}

absl::Status LoadBuilt(const ModelBuilder& builder) {
  const TempDir dir;
  return LoadModel({.name = "built", .model = dir.Write("model.onnx", builder.Bytes())}).status();
}

TEST(EngineTest, ModelsThatCannotBeServedSayWhy) {
  ModelBuilder unknown;
  unknown.Input("x", {"N", "3"});
  unknown.Node("NoSuchOperator", {"x"}, {"y"}, "odd");
  unknown.Output("y");
  EXPECT_THAT(LoadBuilt(unknown), StatusIs(StatusCode::kUnimplemented, HasSubstr("node 'odd'")));
}

TEST(EngineTest, ModelOfFixedShapeTakesWholeTensors) {
  ModelBuilder builder;
  builder.Input("x", {"1", "2", "3", "3"});
  builder.Floats("w", {1, 2, 1, 1}, {1, 10});
  builder.Node("Conv", {"x", "w"}, {"y"});
  builder.Output("y");
  const TempDir dir;
  const auto model =
      Load({.name = "fixed", .model = dir.Write("model.onnx", builder.Bytes()), .max_batch_rows = 8});
  EXPECT_FALSE(model->signature().batched);
  EXPECT_EQ(model->signature().outputs[0].dims, Shape({1, 1, 3, 3}));
  std::vector<float> x(18);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  const auto y = RunRows(*model, *NewRunContext(), std::as_bytes(std::span(x)), 1);
  EXPECT_EQ(y[4], 4 + 10 * 13);
}

}  // namespace
}  // namespace hachi
