#include <gtest/gtest.h>

#include <random>

#include "engine/base/file.h"
#include "engine/samples/tensor_file.h"
#include "tests/samples/zip_writer.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

class NpzTest : public testing::Test {
 protected:
  std::filesystem::path Npz(const std::map<std::string, std::string>& entries) {
    WriteZip(directory_.path() / "a.npz", entries);
    return directory_.path() / "a.npz";
  }

  TempDir directory_;
  const std::string array_ = NpyBytes(Tensor::Of<float>({2}, {1, 2}).view());
};

TEST_F(NpzTest, ArraysAreReadByName) {
  const auto scalar = NpyBytes(Tensor::Of<uint8_t>({}, {5}).view());
  const auto arrays = ReadNpz(Npz({{"x.npy", array_}, {"sub/y.npy", scalar}}));
  ASSERT_OK(arrays);
  ASSERT_EQ(arrays->size(), 2u);
  EXPECT_THAT(arrays->at("x").As<float>(), ElementsAre(1, 2));
  EXPECT_THAT(arrays->at("sub/y").As<uint8_t>(), ElementsAre(5));
}

TEST_F(NpzTest, WhatIsWrittenIsRead) {
  std::map<std::string, Tensor> written;
  written.emplace("x", Tensor::Of<float>({2}, {1, 2}));
  written.emplace("sub/ü:0", Tensor::Of<uint8_t>({1, 3}, {3, 4, 5}));
  ASSERT_OK(WriteNpz(directory_.path() / "b.npz", written));
  const auto arrays = ReadNpz(directory_.path() / "b.npz");
  ASSERT_OK(arrays);
  EXPECT_THAT(arrays->at("x").As<float>(), ElementsAre(1, 2));
  EXPECT_THAT(arrays->at("sub/ü:0").shape(), ElementsAre(1, 3));
}

TEST_F(NpzTest, BadArchivesAreRefused) {
  EXPECT_THAT(ReadNpz(directory_.path() / "none.npz"),
              StatusIs(StatusCode::kNotFound, HasSubstr("none.npz")));
  EXPECT_THAT(ReadNpz(directory_.Write("b.npz", "no archive")),
              StatusIs(StatusCode::kDataLoss, HasSubstr("b.npz")));
  EXPECT_THAT(ReadNpz(Npz({{"readme.txt", "hello"}})),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("entry 'readme.txt'")));
  EXPECT_THAT(ReadNpz(Npz({{"x.npy", "no array"}})),
              StatusIs(StatusCode::kDataLoss, HasSubstr("entry 'x.npy'")));
}

TEST_F(NpzTest, EntriesThatUnpackToMoreThanTheyMayAreRefused) {
  const auto bytes = ReadFile(Npz({{"x.npy", array_}}));
  ASSERT_OK(bytes);
  const size_t place = bytes->find("PK\x01\x02") + 24;  // the size in the archive's directory
  std::string huge = *bytes, lying = *bytes;
  huge.replace(place, 4, "\xFE\xFF\xFF\xFE");
  EXPECT_THAT(ReadNpz(directory_.Write("huge.npz", huge)),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("unpack to more than")));
  lying[place] = 100;
  EXPECT_THAT(ReadNpz(directory_.Write("lying.npz", lying)), StatusIs(StatusCode::kDataLoss));
}

TEST_F(NpzTest, NoPrefixAndNoMutationCrashes) {
  const auto bytes = ReadFile(Npz({{"x.npy", array_}, {"y.npy", array_}}));
  ASSERT_OK(bytes);
  for (size_t length = 0; length < bytes->size(); ++length)
    EXPECT_FALSE(ReadNpz(directory_.Write("cut.npz", bytes->substr(0, length))).ok()) << length;
  std::mt19937 random(7);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string mutated = *bytes;
    for (int changes = 0; changes < 3; ++changes)
      mutated[random() % mutated.size()] = static_cast<char>(random() % 256);
    refused += !ReadNpz(directory_.Write("mutated.npz", mutated)).ok();
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace hachi
