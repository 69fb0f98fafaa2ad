#include "server/models/labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi::server {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

// The labels in a file of that text, of the output "scores".
absl::StatusOr<Labels> Read(const std::string& text, Shape dims, DType dtype = DType::kF32) {
  const TempDir dir;
  ModelConfig config;
  config.dir = dir.path();
  dir.Write("labels.txt", text);
  config.outputs["scores"].labels = "labels.txt";
  return ReadLabels(config, {.inputs = {}, .outputs = {{"scores", dtype, std::move(dims)}}, .batched = true});
}

TEST(LabelsTest, LinesEndAsEditorsWriteThem) {
  EXPECT_THAT(Read("cat\ndog", {2}), IsOkAndHolds(ElementsAre(Pair("scores", "cat\ndog"))));
  EXPECT_THAT(Read("cat\r\ndog\r\n\n", {2}), IsOkAndHolds(ElementsAre(Pair("scores", "cat\ndog"))));
  EXPECT_THAT(Read("\nchat noir\n\xE5\x85\xAB\n", {3}),
              IsOkAndHolds(ElementsAre(Pair("scores", "\nchat noir\n\xE5\x85\xAB"))));
}

TEST(LabelsTest, StandForValuesOrForOneDimension) {
  EXPECT_OK(Read("a\nb\nc\n", {3, 8, 8}));
  EXPECT_OK(Read("a\nb\nc\nd\n", {2, 2}));
  EXPECT_THAT(Read("a\nb\nc\n", {2}), StatusIs(StatusCode::kInvalidArgument,
                                               HasSubstr("has 3 labels, expected one for each of [2]")));
  EXPECT_THAT(Read("\n", {2}), StatusIs(StatusCode::kInvalidArgument, HasSubstr("has 0 labels")));
}

TEST(LabelsTest, IntegersMayBeIndicesOfAnyNumber) {
  EXPECT_OK(Read("a\nb\nc\n", {100}, DType::kS64));
  EXPECT_THAT(Read("", {100}, DType::kS64), StatusIs(StatusCode::kInvalidArgument, HasSubstr("has 0")));
}

TEST(LabelsTest, OtherBytesThanTextAreNamedWithTheirLine) {
  EXPECT_THAT(Read("cat\n\xFF\n", {2}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("labels.txt:2: is not text, expected")));
}

TEST(LabelsTest, OutputThatTheModelLacksIsAnError) {
  ModelConfig config;
  config.outputs["score"];
  EXPECT_THAT(ReadLabels(config, {.inputs = {}, .outputs = {{"scores", DType::kF32, {2}}}}),
              StatusIs(StatusCode::kInvalidArgument, "output 'score': unknown, expected 'scores'"));
}

TEST(LabelsTest, FileThatWentAwayIsAnError) {
  ModelConfig config;
  config.dir = testing::TempDir();
  config.outputs["scores"].labels = "nonexistent/labels.txt";
  EXPECT_THAT(ReadLabels(config, {.inputs = {}, .outputs = {{"scores", DType::kF32, {2}}}}),
              StatusIs(StatusCode::kNotFound, HasSubstr("output 'scores': file 'nonexistent/labels.txt'")));
}

TEST(LabelsTest, FileThatHasBecomeALinkOutOfTheDirectoryIsAnError) {
  const TempDir dir;
  dir.Write("secret", "a\nb\n");
  std::filesystem::create_directory(dir.path() / "model");
  std::filesystem::create_symlink("../secret", dir.path() / "model/labels.txt");
  ModelConfig config;
  config.dir = dir.path() / "model";
  config.outputs["scores"].labels = "labels.txt";
  EXPECT_THAT(ReadLabels(config, {.inputs = {}, .outputs = {{"scores", DType::kF32, {2}}}}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("a link leads out of the folder")));
}

TEST(LabelsTest, OutputsWithoutLabelsHaveNone) {
  ModelConfig config;
  config.outputs["scores"];
  EXPECT_THAT(ReadLabels(config, {.inputs = {}, .outputs = {{"scores", DType::kF32, {2}}}}),
              IsOkAndHolds(IsEmpty()));
}

}  // namespace
}  // namespace hachi::server
