#include "engine/quant/calibration_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kModel(64, 'a'), kOtherModel(64, 'b');

CalibrationTable TableOf(const std::vector<std::string>& tensors,
                         const std::vector<float>& values = {-1, 0, 0.1f, 3}) {
  CalibrationTable table(
      {.model_sha256 = kModel, .data_tag = "two digits", .samples = 2, .tool_version = "hachi 1"});
  for (const std::string& tensor : tensors) table.Observe(tensor, values, {.channels = 2});
  return table;
}

TEST(CalibrationTableTest, TextIsOneSortedLineATensorBehindAHeader) {
  const std::string text = TableOf({"b", "a"}).ToText();
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  ASSERT_EQ(lines.size(), 9u);
  EXPECT_EQ(lines[0], "hachi calibration table, format 1");
  EXPECT_EQ(lines[1], "model: " + kModel);
  EXPECT_EQ(lines[2], "data: two digits");
  EXPECT_EQ(lines[3], "samples: 2");
  EXPECT_EQ(lines[4], "tensors: 2");
  EXPECT_EQ(lines[5], "tool: hachi 1");
  EXPECT_THAT(lines[6], testing::StartsWith("a min=-1 max=3 count=4 nonfinite=0 channels=2:"));
  EXPECT_THAT(lines[7], testing::StartsWith("b min=-1 max=3 count=4 nonfinite=0 channels=2:"));
  EXPECT_EQ(lines[8], "");
}

TEST(CalibrationTableTest, FilesReadBackAsWritten) {
  const TempDir dir;
  const auto file = dir.path() / "calibration.txt";
  const CalibrationTable table = TableOf({"x", "conv1/output:0"});
  ASSERT_OK(table.Write(file));
  const auto read = CalibrationTable::Read(file);
  ASSERT_OK(read);
  EXPECT_EQ(read->ToText(), table.ToText());
  EXPECT_EQ(read->header().samples, 2);
  EXPECT_THAT(CalibrationTable::Read(dir.path() / "none"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(CalibrationTable::Read(dir.Write("bad", "PK")),
              StatusIs(absl::StatusCode::kDataLoss, AllOf(HasSubstr("bad"), HasSubstr("line 1"))));
}

TEST(CalibrationTableTest, StrangeNamesSurvive) {
  const std::vector<std::string> names = {" ",    "two words", "#1",    "\"quoted\"", "line\nbreak",
                                          "100%", "%20",       "tab\t", "'",          "a=b",
                                          "八",   "\r",        "min=1"};
  CalibrationTable table = TableOf(names);
  const auto read = CalibrationTable::Parse(table.ToText());
  ASSERT_OK(read);
  EXPECT_EQ(read->ToText(), table.ToText());
  for (const std::string& name : names) EXPECT_OK(read->Find(name)) << name;
}

TEST(CalibrationTableTest, CommentedLineCountsAndRunsConsumersInFp32) {
  for (const std::string comment : {"#", "# ", "#  "}) {
    const std::string text =
        absl::StrReplaceAll(TableOf({"x", "y"}).ToText(), {{"\ny ", "\n" + comment + "y "}});
    const auto table = CalibrationTable::Parse(text);
    ASSERT_OK(table);
    EXPECT_THAT(table->Find("y"), IsOkAndHolds(nullptr));
    EXPECT_THAT(table->Find("x"), IsOkAndHolds(testing::NotNull()));
    EXPECT_THAT(CalibrationTable::Parse(table->ToText()), IsOk());
    EXPECT_THAT(table->ToText(), HasSubstr("\n#y min="));
  }
}

TEST(CalibrationTableTest, NotesAndBlankLinesAreSkipped) {
  const std::string text =
      absl::StrReplaceAll(TableOf({"x"}).ToText(), {{"\nx ", "\n\n## x is the image\nx "}});
  EXPECT_OK(CalibrationTable::Parse(text));
}

TEST(CalibrationTableTest, AbsentTensorIsAnErrorThatNamesIt) {
  EXPECT_THAT(TableOf({"x"}).Find("conv7"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'conv7'")));
}

TEST(CalibrationTableTest, LinesMustBeAsManyAsTheHeaderSays) {
  const std::string text = TableOf({"x", "y"}).ToText();
  const std::string fewer = text.substr(0, text.find("\ny ") + 1);
  EXPECT_THAT(CalibrationTable::Parse(fewer),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("1 tensors, expected 2")));
  EXPECT_THAT(CalibrationTable::Parse(absl::StrReplaceAll(text, {{"tensors: 2", "tensors: 1"}})),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("2 tensors, expected 1")));
}

TEST(CalibrationTableTest, DamageNamesItsLine) {
  const std::string text = TableOf({"x", "y"}).ToText();
  const std::pair<std::string, std::string> edits[] = {{"model: a", "model: A"},
                                                       {"data: ", "date: "},
                                                       {"samples: 2", "samples: two"},
                                                       {"tensors: 2", "tensors: -2"},
                                                       {"\ny min=-1", "\ny min=-2"},
                                                       {"\ny ", "\nx "},
                                                       {"\ny ", "\n%2 "},
                                                       {"\ny ", "\n%zz "},
                                                       {"\ny ", "\n "},
                                                       {"\ny ", "\n#"},
                                                       {"data: two", "data: %two"}};
  const int lines[] = {2, 3, 4, 5, 8, 8, 8, 8, 8, 8, 3};
  for (size_t i = 0; i < std::size(edits); ++i) {
    const std::string bad = absl::StrReplaceAll(text, {edits[i]});
    ASSERT_NE(bad, text);
    EXPECT_THAT(CalibrationTable::Parse(bad),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr(absl::StrCat("line ", lines[i]))))
        << edits[i].second;
  }
  EXPECT_THAT(CalibrationTable::Parse(absl::StrReplaceAll(text, {{"format 1", "format 2"}})),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("format '2'")));
}

TEST(CalibrationTableTest, TableOfAnotherModelIsRefused) {
  const CalibrationTable table = TableOf({"x"});
  EXPECT_OK(table.CheckBelongsTo(kModel));
  EXPECT_THAT(table.CheckBelongsTo(kOtherModel), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                          AllOf(HasSubstr(kModel), HasSubstr(kOtherModel))));
}

TEST(CalibrationTableTest, MergedTablesEqualTheTableOfTheWhole) {
  CalibrationTable a = TableOf({"x", "y"}, {1, 2}), whole = TableOf({"x", "y"}, {1, 2});
  const CalibrationTable b = TableOf({"x", "y"}, {-300, 0.5f});
  whole.Observe("x", std::vector<float>{-300, 0.5f}, {.channels = 2});
  whole.Observe("y", std::vector<float>{-300, 0.5f}, {.channels = 2});
  whole.AddSamples(2);
  ASSERT_OK(a.Merge(b));
  EXPECT_EQ(a.ToText(), whole.ToText());
}

TEST(CalibrationTableTest, MergeKeepsCommentsAndNamesBothTags) {
  CalibrationTable a = TableOf({"x", "y"});
  const auto b = CalibrationTable::Parse(
      absl::StrReplaceAll(TableOf({"x", "y"}).ToText(), {{"\ny ", "\n#y "}, {"two digits", "night"}}));
  ASSERT_OK(b);
  ASSERT_OK(a.Merge(*b));
  EXPECT_THAT(a.Find("y"), IsOkAndHolds(nullptr));
  EXPECT_EQ(a.header().data_tag, "two digits+night");
  EXPECT_EQ(a.header().samples, 4);
}

TEST(CalibrationTableTest, MergeRefusesAnotherModelAndOtherVersionsTensors) {
  CalibrationTable table = TableOf({"x"});
  EXPECT_THAT(table.Merge(CalibrationTable({.model_sha256 = kOtherModel})),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  const auto of_version = [](const std::string& text) {
    auto parsed = CalibrationTable::Parse(absl::StrReplaceAll(text, {{"tool: hachi 1", "tool: hachi 2"}}));
    EXPECT_OK(parsed);
    return *std::move(parsed);
  };
  EXPECT_THAT(table.Merge(of_version(TableOf({"x", "y"}).ToText())),
              StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("'y'"), HasSubstr("'hachi 2'"))));
  EXPECT_THAT(table.Merge(of_version(TableOf({}).ToText())),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'x'")));
  EXPECT_OK(table.Merge(of_version(TableOf({"x"}).ToText())));
}

TEST(CalibrationTableTest, TableOfRangesLeavesTheRestInFp32) {
  const CalibrationTable table = CalibrationTable::OfRanges({{"x", TensorStats::OfRange(-1, 2)}});
  const auto x = table.Find("x");
  ASSERT_OK(x);
  ASSERT_NE(*x, nullptr);
  EXPECT_TRUE((*x)->quantizable());
  EXPECT_EQ((*x)->max(), 2);
  EXPECT_THAT(table.Find("y"), IsOkAndHolds(testing::IsNull()));
  EXPECT_EQ(table.Line("y"), nullptr);
}

// Samples may decide which branch a model takes.
TEST(CalibrationTableTest, MergeHasTheTensorsThatEitherRunMet) {
  CalibrationTable table = TableOf({"x", "then"});
  ASSERT_OK(table.Merge(TableOf({"x", "else"})));
  EXPECT_EQ(table.tensors().size(), 3u);
  EXPECT_EQ(table.tensors().at("x").stats.count(), 8u);
  EXPECT_EQ(table.tensors().at("then").stats.count(), 4u);
  EXPECT_EQ(table.tensors().at("else").stats.count(), 4u);
  EXPECT_OK(CalibrationTable::Parse(table.ToText()));
}

// Random damage must end in an error or in a table that reads back as itself, never in a crash.
TEST(CalibrationTableTest, RandomDamageNeverCrashes) {
  std::mt19937 random(4);
  std::vector<float> values(60);
  for (float& value : values) value = std::normal_distribution<float>(0, 1)(random);
  CalibrationTable table = TableOf({"x", "a b"}, values);
  table.Observe("empty", {}, {});
  const std::string text = table.ToText();
  int refused = 0;
  constexpr int kRounds = 5000;
  for (int round = 0; round < kRounds; ++round) {
    std::string bad = text;
    for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; --edits) {
      const size_t at = random() % bad.size();
      const char alphabet[] = "0123456789=:# %\n-+.eEinfABz/\xff";
      const char c = alphabet[random() % (sizeof(alphabet) - 1)];
      switch (random() % 5) {
        case 0:
          bad[at] = c;
          break;
        case 1:
          bad.insert(at, 1 + random() % 3, c);
          break;
        case 2:
          bad.erase(at, 1 + random() % 20);
          break;
        case 3:
          bad.insert(at, bad.substr(random() % bad.size(), random() % 100));
          break;
        case 4:
          bad[at] = static_cast<char>(random());
          break;
      }
      if (bad.empty()) bad = text;
    }
    const auto read = CalibrationTable::Parse(bad);
    if (!read.ok()) {
      ++refused;
      continue;
    }
    const auto again = CalibrationTable::Parse(read->ToText());
    ASSERT_OK(again);
    EXPECT_EQ(again->ToText(), read->ToText());
  }
  EXPECT_GT(refused, kRounds / 2);
}

}  // namespace
}  // namespace hachi
