#include "server/models/client_message.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/support/temp_dir.h"

namespace hachi::server {
namespace {

TEST(WithoutPathsTest, FilesOfTheModelAreNamedFromItsDirectoryOn) {
  const TempDir dir;
  const std::string path = dir.path();
  EXPECT_EQ(WithoutPaths("file '" + path + "/1/model.onnx': not found", path),
            "file '1/model.onnx': not found");
  EXPECT_EQ(WithoutPaths(path + "/labels.txt:2: is not text", path + "/"), "labels.txt:2: is not text");
}

TEST(WithoutPathsTest, LinksToTheDirectoryAreNoWayRound) {
  const TempDir dir;
  dir.Write("real/model.onnx", "");
  std::filesystem::create_directory_symlink("real", dir.path() / "link");
  EXPECT_EQ(WithoutPaths("'" + (dir.path() / "real/model.onnx").string() + "'", dir.path() / "link"),
            "'model.onnx'");
}

TEST(WithoutPathsTest, OfOtherPlacesTheLastNameIsLeft) {
  EXPECT_EQ(WithoutPaths("'/etc/passwd', expected one", "/models/m"), "'passwd', expected one");
  EXPECT_EQ(WithoutPaths("/etc/passwd", ""), "passwd");
}

TEST(WithoutPathsTest, NamesThatLookLikePathsStay) {
  for (const char* message : {"output '/conv1/Conv_output_0': unknown", "a/b", "1 / 2", "/", ""})
    EXPECT_EQ(WithoutPaths(message, "/models/m"), message);
}

}  // namespace
}  // namespace hachi::server
