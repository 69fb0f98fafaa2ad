#include "engine/base/beneath.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using absl::StatusCode;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// A folder "inside" with a file, beside a secret one.
class ReadFileBeneathTest : public testing::Test {
 protected:
  ReadFileBeneathTest() : inside_(dir_.path() / "inside") {
    dir_.Write("inside/file", "content");
    dir_.Write("secret", "secret");
  }
  absl::StatusOr<std::string> Read(const std::string& name, size_t max_bytes = 100) const {
    return ReadFileBeneath(inside_, name, max_bytes);
  }

  const TempDir dir_;
  const std::filesystem::path inside_;
};

TEST_F(ReadFileBeneathTest, FilesOfTheFolderAreRead) {
  dir_.Write("inside/deep/er", "");
  std::filesystem::create_symlink("file", inside_ / "link");
  std::filesystem::create_directory_symlink("deep", inside_ / "data");
  EXPECT_THAT(Read("file"), IsOkAndHolds("content"));
  EXPECT_THAT(Read("./file"), IsOkAndHolds("content"));
  EXPECT_THAT(Read("link"), IsOkAndHolds("content"));
  EXPECT_THAT(Read("data/er"), IsOkAndHolds(""));
  EXPECT_OK(CheckFileBeneath(inside_, "file"));
}

TEST_F(ReadFileBeneathTest, PathsThatLeadOutAreInvalid) {
  std::filesystem::create_symlink(dir_.path() / "secret", inside_ / "absolute");
  std::filesystem::create_symlink("../secret", inside_ / "relative");
  std::filesystem::create_directory_symlink("..", inside_ / "up");
  std::filesystem::create_symlink("file", inside_ / "there");
  std::filesystem::create_symlink("again", inside_ / "again");
  for (const std::string& name :
       {std::string("../secret"), std::string("./../inside/../secret"), (dir_.path() / "secret").string(),
        (inside_ / "file").string(), std::string("absolute"), std::string("relative"),
        std::string("up/secret"), std::string("again"), std::string("")}) {
    EXPECT_THAT(Read(name), StatusIs(StatusCode::kInvalidArgument, HasSubstr("'" + name + "'"))) << name;
    EXPECT_THAT(CheckFileBeneath(inside_, name), StatusIs(StatusCode::kInvalidArgument)) << name;
  }
}

TEST_F(ReadFileBeneathTest, FileWithANameElsewhereIsInvalid) {
  std::filesystem::create_hard_link(dir_.path() / "secret", inside_ / "hard");
  EXPECT_THAT(Read("hard"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("has 2 names")));
}

TEST_F(ReadFileBeneathTest, OnlyRegularFilesOfBoundedSizeAreRead) {
  ASSERT_EQ(mkfifo((inside_ / "fifo").c_str(), 0600), 0);
  std::filesystem::create_directory(inside_ / "folder");
  EXPECT_THAT(Read("fifo"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("not a regular file")));
  EXPECT_THAT(Read("folder"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("not a regular file")));
  EXPECT_THAT(Read("file", 6),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("7 bytes, expected at most 6")));
}

TEST_F(ReadFileBeneathTest, MessagesSayNoMoreThanTheDocument) {
  EXPECT_THAT(Read("none"), StatusIs(StatusCode::kNotFound,
                                     AllOf(HasSubstr("'none'"), Not(HasSubstr(dir_.path().string())))));
}

}  // namespace
}  // namespace hachi
