#include "engine/tune/guard_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <thread>
#include <vector>

#include "engine/tune/guard.h"
#include "tests/tune/golden_digits.h"

namespace hachi {
namespace {

using ::testing::ElementsAre;
using ::testing::Not;

GuardVerdict Example() {
  return {.report = {.result = GuardResult::kFellBack,
                     .metric = Metric::kCosine,
                     .drop = 0.25,
                     .served_drop = 1e-3,
                     .layers = {"conv1", "a name"}},
          .decisions = "conv1 precision=fp32 origin=guard\n"};
}

std::string Damaged(std::string text, size_t at) {
  text[at] ^= 1;
  return text;
}

TEST(GuardVerdictTest, PrintedTextParsesToTheSameText) {
  const auto verdict = GuardVerdict::Parse(Example().ToText());
  ASSERT_OK(verdict);
  EXPECT_EQ(verdict->ToText(), Example().ToText());
  EXPECT_THAT(verdict->report.layers, ElementsAre("conv1", "a name"));
}

TEST(GuardVerdictTest, PartsAndDamageAreNone) {
  const std::string text = Example().ToText();
  for (size_t i = 0; i < text.size(); ++i) {
    EXPECT_THAT(GuardVerdict::Parse(text.substr(0, i)), Not(IsOk())) << i;
    EXPECT_THAT(GuardVerdict::Parse(Damaged(text, i)), Not(IsOk())) << i;
  }
}

// The demo model with golden samples and a folder that remembers.
struct Remembering {
  TempDir folder;
  LoadOptions options = DigitsOptions(Precision::kInt8);
  std::vector<bool> from_cache;  // of each load

  Remembering() {
    options.guard.golden = WriteGolden(folder);
    options.guard.cache = folder.path() / "cache";
    options.table = WritePoisonedTable(folder, "bottleneck.bn", 0.1f);
    options.on_guard = [this](const GuardReport& report) { from_cache.push_back(report.from_cache); };
  }

  std::string LoadedDecisions() const {
    const auto model = LoadGuarded(options);
    EXPECT_OK(model);
    return (*model)->info().decisions;
  }
  std::vector<std::filesystem::path> Files() const {
    return {std::filesystem::directory_iterator(options.guard.cache), {}};
  }
};

TEST(GuardCacheTest, SecondLoadMeasuresNothingAndServesTheSame) {
  Remembering test;
  const std::string first = test.LoadedDecisions();
  EXPECT_EQ(test.LoadedDecisions(), first);
  EXPECT_THAT(test.from_cache, ElementsAre(false, true));
}

TEST(GuardCacheTest, WhatItDependsOnIsMeasuredAnew) {
  Remembering test;
  test.LoadedDecisions();
  test.options.guard.max_drop = 0.5;
  test.LoadedDecisions();
  test.options.layers["stem.conv"] = Precision::kFp32;
  test.LoadedDecisions();
  test.options.table = DigitsDir() / "calibration.txt";
  test.LoadedDecisions();
  test.folder.Write("golden/notes.txt", "of another day");
  test.LoadedDecisions();
  EXPECT_THAT(test.from_cache, ElementsAre(false, false, false, false, false));
}

TEST(GuardCacheTest, TruncatedFileAndOneOfAnotherVersionAreMeasuredAnewAndReplaced) {
  Remembering test;
  const std::string first = test.LoadedDecisions();
  const auto file = test.Files().at(0);
  const auto text = ReadFile(file);
  ASSERT_OK(text);
  for (const std::string& damaged :
       {text->substr(0, text->size() / 2), std::string("hachi_guard 2\nresult passed\n")}) {
    ASSERT_OK(WriteFile(file, damaged));
    EXPECT_EQ(test.LoadedDecisions(), first);
    EXPECT_EQ(*ReadFile(file), *text);
  }
  EXPECT_THAT(test.from_cache, ElementsAre(false, false, false));
}

TEST(GuardCacheTest, TwoWritersAtOnceLeaveAWholeFile) {
  const TempDir folder;
  const GuardCache cache(folder.path());
  GuardVerdict other = Example();
  other.report.result = GuardResult::kPassed;
  const auto write = [&](const GuardVerdict& verdict) {
    for (int i = 0; i < 20; ++i) EXPECT_OK(cache.Remember("key", verdict));
  };
  std::thread one([&] { write(Example()); }), two([&] { write(other); });
  while (!cache.Find("key").has_value()) std::this_thread::yield();
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(cache.Find("key").has_value());
  one.join();
  two.join();
  EXPECT_TRUE(cache.Find("key").has_value());
}

// A writer that is killed over and over leaves a verdict or none, never a part.
TEST(GuardCacheTest, KilledWriterLeavesAWholeFileOrNone) {
  const TempDir folder;
  const GuardCache cache(folder.path());
  GuardVerdict large = Example();
  large.report.layers.assign(20000, "a layer of that name");
  for (int round = 0; round < 10; ++round) {
    const pid_t child = fork();
    if (child == 0)
      for (;;) (void)cache.Remember("key", large);
    while (std::filesystem::is_empty(folder.path())) std::this_thread::yield();
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    EXPECT_EQ(cache.Find("key").has_value(), std::filesystem::exists(folder.path() / "key"));
  }
  ASSERT_OK(cache.Remember("key", Example()));
  EXPECT_EQ(cache.Find("key")->report.layers.size(), 2u);
}

TEST(GuardCacheTest, FolderThatCannotBeWrittenCostsTheMemoryNotTheLoad) {
  Remembering test;
  test.options.guard.cache = test.folder.Write("file", "in the way");
  test.LoadedDecisions();
  test.LoadedDecisions();
  EXPECT_THAT(test.from_cache, ElementsAre(false, false));
}

}  // namespace
}  // namespace hachi
