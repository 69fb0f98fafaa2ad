#include "engine/quant/foreign_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <utility>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using testing::AllOf;
using testing::HasSubstr;

void ExpectRange(const ForeignTable& table, const std::string& name, float min, float max) {
  const auto found = table.ranges.find(name);
  ASSERT_NE(found, table.ranges.end()) << name;
  EXPECT_FLOAT_EQ(found->second.min, min) << name;
  EXPECT_FLOAT_EQ(found->second.max, max) << name;
}

TEST(ForeignTableTest, OnnxRuntimeHasWrittenRangesInSeveralForms) {
  const std::string forms[] = {
      R"({"x": [-1.5, 3], "conv1/out:0": [0.0, 6.0]})",
      R"( {"x": {"lowest": -1.5, "highest": 3, "CLS": "TensorData"},
           "conv1/out:0": {"lowest": {"data": 0.0, "dtype": "float32", "CLS": "numpy.array"},
                           "highest": {"data": [6.0], "dtype": "float32", "CLS": "numpy.array"}}})",
      R"({"CLS": "TensorsData", "calibration_method": {"CLS": "CalibrationMethod", "value": "CalibrationMethod.MinMax"},
          "smooth_quant": false,
          "data": {"x": {"lowest": -1.5, "highest": 3.0, "hist": {"data": [1, 2]}, "hist_edges": {"data": [-9, 9]}},
                   "conv1/out:0": {"lowest": {"data": [[0.5], [0]]}, "highest": {"data": [[6], [2]]}}}})",
      R"({"x": [{"data": [-1.5, 1]}, {"data": [3, 2]}], "conv1/out:0": [0, 6, {"data": [1]}, {"data": [0, 6]}]})"};
  for (const std::string& form : forms) {
    ASSERT_TRUE(IsForeignTable(form)) << form;
    const auto table = ParseForeignTable(form);
    ASSERT_OK(table);
    EXPECT_EQ(table->tool, "ONNX Runtime");
    EXPECT_FALSE(table->names_layers || table->only_magnitudes);
    EXPECT_EQ(table->ranges.size(), 2u);
    ExpectRange(*table, "x", -1.5f, 3);
    ExpectRange(*table, "conv1/out:0", 0, 6);
  }
}

TEST(ForeignTableTest, EndsThatOnnxRuntimeRoundedApartAreARangeAllTheSame) {
  const auto table =
      ParseForeignTable(R"({"ratio": {"lowest": 0.10000000149, "highest": {"data": 0.09999999404}}})");
  ASSERT_OK(table);
  ExpectRange(*table, "ratio", 0.09999999404f, 0.10000000149f);
}

TEST(ForeignTableTest, OnnxRuntimesDamageNamesTheTensor) {
  for (const std::string entry :
       {"1", "[1]", "[\"a\", 1]", "[1e300, 1e301]", "{}", "{\"lowest\": 1}", "[[], []]",
        "{\"lowest\": 0, \"highest\": {\"CLS\": 1}}", "[0, {\"data\": null}]"})
    EXPECT_THAT(ParseForeignTable("{\"bad\": " + entry + "}"),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("'bad'")))
        << entry;
  for (const std::string text :
       {"{", "{\"x\": [0, NaN]}", "{\"x\": [0, 1]} {}", "{\"CLS\": 1, \"data\": []}"})
    EXPECT_THAT(ParseForeignTable(text), StatusIs(absl::StatusCode::kDataLoss)) << text;
  EXPECT_THAT(ParseForeignTable("{}"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("without ranges")));
}

TEST(ForeignTableTest, DeepJsonIsRefused) {
  const std::string deep(1 << 20, '['), objects = [] {
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += "{\"data\":";
    return text;
  }();
  EXPECT_THAT(ParseForeignTable("{\"x\":" + deep), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(ParseForeignTable("{\"x\":" + deep + std::string(1 << 20, ']') + "}"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("'x'")));
  EXPECT_THAT(ParseForeignTable("{\"x\":[" + objects + "1" + std::string(100'000, '}') + ",2]}"),
              testing::Property(&absl::StatusOr<ForeignTable>::ok, true));
}

// The values are the examples of NVIDIA's users: 3c008912 is 0.0078452 and 3c92aa10 is 0.0179033577.
TEST(ForeignTableTest, TensorRtKeepsTheBitsOfAScale) {
  const std::string text =
      "TRT-8601-EntropyCalibration2\ndata: 3c008912\r\nblock 1: conv: 3c92aa10\n\ndead: 0\n";
  ASSERT_TRUE(IsForeignTable(text));
  const auto table = ParseForeignTable(text);
  ASSERT_OK(table);
  EXPECT_EQ(table->tool, "TensorRT");
  EXPECT_TRUE(table->only_magnitudes);
  EXPECT_EQ(table->ranges.size(), 3u);
  EXPECT_NEAR(table->ranges.at("data").max, 0.0078452 * 127, 1e-5);
  EXPECT_NEAR(table->ranges.at("block 1: conv").max, 0.0179033577 * 127, 1e-6);
  EXPECT_EQ(table->ranges.at("data").min, -table->ranges.at("data").max);
  EXPECT_EQ(table->ranges.at("dead").max, 0);
  for (const std::string line : {"data", "data: xyz", ": 3c008912", "data: bf800000", "data: 7f800000",
                                 "data: 7fc00000", "data: 123456789", "data:"})
    EXPECT_THAT(ParseForeignTable("TRT-1\nx: 3c008912\n" + line + "\n"),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("line 3")))
        << line;
  EXPECT_THAT(ParseForeignTable("TRT-8601-MinMaxCalibration\n"),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ForeignTableTest, NcnnNamesLayersAndKeepsScalesOfWhatTheyRead) {
  const std::string text =
      "conv1_param_0 156.6 12.5\n#conv2_param_0 3\nfc_param_0 7\nconv1 63.5\n#conv2 12\nfc 25.4 12.7\n";
  ASSERT_TRUE(IsForeignTable(text));
  const auto table = ParseForeignTable(text);
  ASSERT_OK(table);
  EXPECT_EQ(table->tool, "ncnn");
  EXPECT_TRUE(table->names_layers && table->only_magnitudes);
  EXPECT_EQ(table->ranges.size(), 2u);
  ExpectRange(*table, "conv1", -2, 2);
  ExpectRange(*table, "fc", -10, 10);
  for (const std::string line : {"conv3", "conv3 x", "conv3 0", "conv3 -1", "conv3 nan", "conv3_param_0 x"})
    EXPECT_THAT(ParseForeignTable("a_param_0 1\n" + line + "\n"),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("line 2")))
        << line;
}

TEST(ForeignTableTest, OneNumberATensorIsNoTable) {
  // ONNX Runtime's calibration.cache, and others' texts.
  for (const std::string text : {"conv1 3.5\nfc 2\n", "", "PK", "hachi calibration table, format 1\n"})
    EXPECT_FALSE(IsForeignTable(text)) << text;
}

TEST(ForeignTableTest, FilesAreReadAsWhatTheyHold) {
  const TempDir dir;
  CalibrationTable own({.model_sha256 = std::string(64, 'a')});
  own.Observe("x", std::vector<float>{-1, 2}, {});
  ASSERT_OK(own.Write(dir.path() / "own"));
  const auto ours = ReadAnyTable(dir.path() / "own"),
             theirs = ReadAnyTable(dir.Write("trt", "TRT-1\nx: 3c008912\n"));
  ASSERT_OK(ours);
  ASSERT_OK(theirs);
  EXPECT_TRUE(std::holds_alternative<CalibrationTable>(*ours));
  EXPECT_TRUE(std::holds_alternative<ForeignTable>(*theirs));
  EXPECT_THAT(ReadAnyTable(dir.Write("bad", "TRT-1\nx\n")),
              StatusIs(absl::StatusCode::kDataLoss, AllOf(HasSubstr("/bad'"), HasSubstr("line 2"))));
  EXPECT_THAT(ReadAnyTable(dir.path()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("regular file")));
}

TEST(ForeignTableTest, WhatIsWrittenForOnnxRuntimeReadsBack) {
  CalibrationTable table({.model_sha256 = std::string(64, 'a')});
  table.Observe("x", std::vector<float>{-1, 0.1f}, {});
  table.Observe("a \"quoted\" 八", std::vector<float>{0, 6}, {});
  table.Observe("infinite", std::vector<float>{0, std::numeric_limits<float>::infinity()}, {});
  table.Observe("empty", {}, {});
  const auto read = ParseForeignTable(OnnxRuntimeText(table));
  ASSERT_OK(read);
  EXPECT_EQ(read->ranges.size(), 2u);
  EXPECT_EQ(read->ranges.at("x").min, -1);
  EXPECT_EQ(read->ranges.at("x").max, 0.1f);
  ExpectRange(*read, "a \"quoted\" 八", 0, 6);
}

// Random damage ends in an error or in finite ranges, never in a crash.
TEST(ForeignTableTest, RandomDamageNeverCrashes) {
  std::mt19937 random(5);
  const std::string texts[] = {
      R"({"CLS":"TensorsData","data":{"x":{"lowest":{"data":-1.0},"highest":2},"y":[0,1]}})",
      "TRT-8601-EntropyCalibration2\ndata: 3c008912\nconv: 3c92aa10\n",
      "conv1_param_0 156.6 12.5\nconv1 63.5\nfc 25.4 12.7\n"};
  int refused = 0, read = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bad = texts[round % 3];
    for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; --edits) {
      const size_t at = random() % bad.size();
      const char alphabet[] = "0123456789abcdef:{}[],\" #_\n-+.E";
      if (random() % 3 == 0)
        bad.erase(at, 1);
      else
        bad[at] =
            random() % 8 == 0 ? static_cast<char>(random()) : alphabet[random() % (sizeof(alphabet) - 1)];
    }
    if (!IsForeignTable(bad)) continue;
    const auto table = ParseForeignTable(bad);
    if (!table.ok()) {
      ++refused;
      continue;
    }
    ++read;
    for (const auto& [name, range] : table->ranges) EXPECT_LE(range.min, range.max) << bad;
  }
  EXPECT_GT(refused, 1000);
  EXPECT_GT(read, 1000);
}

}  // namespace
}  // namespace hachi
