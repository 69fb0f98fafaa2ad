#include "engine/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

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

TEST(Sha256OfFilesTest, KnownDigests) {
  const TempDir temp;
  const std::filesystem::path empty = temp.Write("empty", ""), abc = temp.Write("abc", "abc");
  EXPECT_THAT(Sha256OfFiles({&empty, 1}),
              IsOkAndHolds("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
  EXPECT_THAT(Sha256OfFiles({&abc, 1}),
              IsOkAndHolds("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

TEST(Sha256OfFilesTest, FilesCountAsOneWhateverTheirSizes) {
  const TempDir temp;
  const std::string large(3'000'000, 'x');
  const std::vector<std::filesystem::path> parts = {temp.Write("1", large), temp.Write("2", ""),
                                                    temp.Write("3", "end")};
  const std::vector<std::filesystem::path> whole = {temp.Write("whole", large + "end")};
  EXPECT_EQ(*Sha256OfFiles(parts), *Sha256OfFiles(whole));
}

TEST(Sha256OfFilesTest, MissingFileIsNamed) {
  const TempDir temp;
  const std::filesystem::path none = temp.path() / "none";
  EXPECT_THAT(Sha256OfFiles({&none, 1}), StatusIs(absl::StatusCode::kNotFound, HasSubstr(none.string())));
}

}  // namespace
}  // namespace hachi
