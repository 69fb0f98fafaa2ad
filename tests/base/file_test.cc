#include "engine/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <csignal>
#include <thread>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

std::vector<std::string> NamesIn(const std::filesystem::path& dir) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) names.push_back(entry.path().filename());
  return names;
}

TEST(ReadFileTest, GivesEveryByte) {
  const TempDir temp;
  const std::string bytes("a\0\r\n\xff", 5);
  EXPECT_THAT(ReadFile(temp.Write("f", bytes)), IsOkAndHolds(bytes));
  EXPECT_THAT(ReadFile(temp.Write("empty", "")), IsOkAndHolds(""));
}

TEST(ReadFileTest, RefusesWhatIsAbsentNoFileOrTooLong) {
  const TempDir temp;
  const auto file = temp.Write("f", "12345");
  EXPECT_THAT(ReadFile(temp.path() / "none"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("/none'")));
  EXPECT_THAT(ReadFile(file / "none"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ReadFile(temp.path()), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("regular")));
  EXPECT_THAT(ReadFile(file, /*max_bytes=*/5), IsOkAndHolds("12345"));
  EXPECT_THAT(ReadFile(file, /*max_bytes=*/4),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("5 bytes, expected at most 4")));
}

TEST(FileReaderTest, FileThatGetsShorterIsUnavailable) {
  const TempDir temp;
  const std::filesystem::path file = temp.Write("f", "12345");
  auto reader = FileReader::Open(file);
  ASSERT_OK(reader);
  std::filesystem::resize_file(file, 2);
  std::array<char, 5> bytes;
  EXPECT_THAT(reader->Read(bytes), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("shorter")));
}

TEST(ReadFileTest, PathThatTheSystemRefusesIsUnavailable) {
  const TempDir temp;
  const auto loop = temp.path() / "loop";
  std::filesystem::create_symlink(loop, loop);
  EXPECT_THAT(ReadFile(loop), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("symbolic links")));
}

TEST(WriteFileTest, WritesAndReplaces) {
  const TempDir temp;
  const auto file = temp.path() / "f";
  EXPECT_OK(WriteFile(file, "a longer first content"));
  EXPECT_OK(WriteFile(file, std::string("b\0b", 3)));
  EXPECT_THAT(ReadFile(file), IsOkAndHolds(std::string("b\0b", 3)));
  EXPECT_THAT(NamesIn(temp.path()), ElementsAre("f"));
}

TEST(WriteFileTest, FailureSaysWhyAndLeavesNothing) {
  const TempDir temp;
  EXPECT_THAT(WriteFile(temp.path() / "none" / "f", "x"),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("No such file or directory")));
  std::filesystem::create_directories(temp.path() / "dir" / "child");
  EXPECT_THAT(WriteFile(temp.path() / "dir", "x"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(NamesIn(temp.path()), ElementsAre("dir"));
}

TEST(WriteFileTest, WhatAnotherProcessLeftIsPassedOver) {
  const TempDir temp;
  const auto file = temp.path() / "f";
  // A process of this id that died left the names that the next writes would take.
  std::vector<std::string> left = {"f"};
  for (int call = 1; call < 1000; ++call)
    left.push_back(temp.Write(absl::StrCat("f.", getpid(), ".", call, ".tmp"), "left").filename());
  EXPECT_OK(WriteFile(file, "new"));
  EXPECT_THAT(ReadFile(file), IsOkAndHolds("new"));
  EXPECT_THAT(NamesIn(temp.path()), UnorderedElementsAreArray(left));
}

TEST(WriteFileTest, FullDiskLeavesTheOldFileAlone) {
  const TempDir temp;
  const auto file = temp.Write("f", "old");
  // A limit on the size of this process's files stands in for a full disk.
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small = {.rlim_cur = 10, .rlim_max = before.rlim_max};
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status written = WriteFile(file, std::string(100'000, 'x'));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);

  EXPECT_THAT(written, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("File too large")));
  EXPECT_THAT(ReadFile(file), IsOkAndHolds("old"));
  EXPECT_THAT(NamesIn(temp.path()), ElementsAre("f"));
}

TEST(WriteFileTest, ReaderSeesOneOfTheContentsWhole) {
  const TempDir temp;
  const auto file = temp.path() / "f";
  const std::string a(100'000, 'a'), b(200'000, 'b');
  ASSERT_OK(WriteFile(file, a));
  std::atomic<int> writing = 2;
  const auto write = [&](const std::string& content) {
    for (int i = 0; i < 50; ++i) EXPECT_OK(WriteFile(file, content));
    --writing;
  };
  std::thread writes_a(write, a), writes_b(write, b);
  while (writing > 0) {
    const auto seen = ReadFile(file);
    EXPECT_OK(seen);
    EXPECT_TRUE(seen.ok() && (*seen == a || *seen == b));
  }
  writes_a.join();
  writes_b.join();
}

TEST(Sha256OfTest, KnownDigests) {
  const TempDir temp;
  const std::filesystem::path empty = temp.Write("empty", ""), abc = temp.Write("abc", "abc");
  EXPECT_THAT(Sha256Of("", {&empty, 1}),
              IsOkAndHolds("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
  EXPECT_THAT(Sha256Of("", {&abc, 1}),
              IsOkAndHolds("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

TEST(Sha256OfTest, FilesCountAsOneWhateverTheirSizes) {
  const TempDir temp;
  const std::string large(3'000'000, 'x');
  const std::vector<std::filesystem::path> parts = {temp.Write("1", large), temp.Write("2", ""),
                                                    temp.Write("3", "end")};
  const std::vector<std::filesystem::path> whole = {temp.Write("whole", large + "end")};
  EXPECT_EQ(*Sha256Of("", parts), *Sha256Of("", whole));
}

TEST(Sha256OfTest, HeadCountsAsAFileBeforeTheOthers) {
  const TempDir dir;
  const auto head = dir.Write("head", "ab"), rest = dir.Write("rest", "c");
  const std::vector both = {head, rest};
  EXPECT_EQ(*Sha256Of("ab", {&rest, 1}), *Sha256Of("", both));
}

TEST(Sha256OfTest, MissingFileIsNamed) {
  const TempDir temp;
  const std::filesystem::path none = temp.path() / "none";
  EXPECT_THAT(Sha256Of("", {&none, 1}), StatusIs(absl::StatusCode::kNotFound, HasSubstr(none.string())));
}

TEST(Sha256OfTest, FileThatCannotBeReadIsAnError) {
  const TempDir temp;
  const std::filesystem::path dir = temp.path();
  EXPECT_THAT(Sha256Of("", {&dir, 1}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a regular file")));
}

TEST(FilesBeneathTest, AreSortedAndLinksToFoldersAreNotFollowed) {
  const TempDir dir;
  const auto b = dir.Write("b", ""), inner = dir.Write("a/z", ""), a = dir.Write("a.txt", "");
  std::filesystem::create_directory_symlink(dir.path() / "a", dir.path() / "link");
  EXPECT_THAT(FilesBeneath(dir.path()), IsOkAndHolds(ElementsAre(inner, a, b)));
}

TEST(FilesBeneathTest, MoreThanExpectedAndNoFolderAreErrors) {
  const TempDir dir;
  dir.Write("a", "");
  dir.Write("b", "");
  EXPECT_THAT(FilesBeneath(dir.path(), 1), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("at most 1")));
  EXPECT_OK(FilesBeneath(dir.path(), 2));
  EXPECT_THAT(FilesBeneath(dir.path() / "none"), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("none")));
}

}  // namespace
}  // namespace hachi
