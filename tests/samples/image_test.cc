#include <gtest/gtest.h>
#include <stb/stb_image_write.h>

#include <random>

#include "engine/samples/tensor_file.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace hachi {
namespace {

using absl::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;

void Append(void* to, void* data, int size) {
  static_cast<std::string*>(to)->append(static_cast<const char*>(data), static_cast<size_t>(size));
}

std::string Png(int width, int height, int channels, const std::vector<uint8_t>& pixels) {
  std::string bytes;
  stbi_write_png_to_func(Append, &bytes, width, height, channels, pixels.data(), width * channels);
  return bytes;
}

TEST(ImageTest, PngsBecomeRowsOfPixels) {
  const TempDir directory;
  const auto image = ReadTensorFile(directory.Write("a.png", Png(2, 1, 3, {1, 2, 3, 4, 5, 6})));
  ASSERT_OK(image);
  EXPECT_EQ(image->dtype(), DType::kU8);
  EXPECT_EQ(image->shape(), (Shape{1, 2, 3}));
  EXPECT_THAT(image->As<uint8_t>(), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(ImageTest, AlphaIsLeftAwayAndGrayStaysGray) {
  const auto color = ParseImage(Png(1, 1, 4, {1, 2, 3, 9}));
  ASSERT_OK(color);
  EXPECT_THAT(color->As<uint8_t>(), ElementsAre(1, 2, 3));
  const auto gray = ParseImage(Png(2, 2, 1, {1, 2, 3, 4}));
  ASSERT_OK(gray);
  EXPECT_EQ(gray->shape(), (Shape{2, 2, 1}));
  const auto gray_with_alpha = ParseImage(Png(1, 1, 2, {7, 9}));
  ASSERT_OK(gray_with_alpha);
  EXPECT_THAT(gray_with_alpha->As<uint8_t>(), ElementsAre(7));
}

TEST(ImageTest, JpegsAreReadWithinTheirLoss) {
  std::string bytes;
  const std::vector<uint8_t> pixels(8 * 8 * 3, 100);
  stbi_write_jpg_to_func(Append, &bytes, 8, 8, 3, pixels.data(), /*quality=*/95);
  const auto image = ParseImage(bytes);
  ASSERT_OK(image);
  EXPECT_EQ(image->shape(), (Shape{8, 8, 3}));
  for (const uint8_t pixel : image->As<uint8_t>()) EXPECT_NEAR(pixel, 100, 2);
}

TEST(ImageTest, OtherContentIsRefused) {
  EXPECT_THAT(ParseImage(""), StatusIs(StatusCode::kDataLoss));
  EXPECT_THAT(ParseImage("GIF89a"), StatusIs(StatusCode::kDataLoss, HasSubstr("neither")));
  EXPECT_THAT(ParseImage("\x89PNG\r\n\x1a\n"), StatusIs(StatusCode::kDataLoss));
}

// The checksum of a PNG's chunk, bit by bit.
uint32_t Checksum(std::string_view bytes) {
  uint32_t sum = ~0u;
  for (const char byte : bytes) {
    sum ^= static_cast<uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) sum = sum >> 1 ^ (sum & 1 ? 0xEDB88320u : 0);
  }
  return ~sum;
}

TEST(ImageTest, HugeImagesAreRefusedByTheirHeader) {
  std::string bytes = Png(1, 1, 1, {0});
  bytes[18] = bytes[22] = '\x40';  // 16385 by 16385
  const uint32_t sum = Checksum(std::string_view(bytes).substr(12, 17));
  for (int i = 0; i < 4; ++i) bytes[static_cast<size_t>(29 + i)] = static_cast<char>(sum >> (24 - 8 * i));
  EXPECT_THAT(ParseImage(bytes), StatusIs(StatusCode::kInvalidArgument, HasSubstr("pixels")));
}

TEST(ImageTest, NoPrefixAndNoMutationCrashes) {
  std::string jpeg;
  std::vector<uint8_t> pixels(16 * 16 * 3);
  std::mt19937 random(7);
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random());
  stbi_write_jpg_to_func(Append, &jpeg, 16, 16, 3, pixels.data(), /*quality=*/80);
  for (const std::string& bytes : {Png(16, 16, 3, pixels), jpeg}) {
    ASSERT_OK(ParseImage(bytes));
    int refused = 0;
    for (size_t length = 0; length < bytes.size(); ++length)
      refused += !ParseImage(std::string_view(bytes).substr(0, length)).ok();
    for (int round = 0; round < 1000; ++round) {
      std::string mutated = bytes;
      mutated[random() % mutated.size()] = static_cast<char>(random() % 256);
      refused += !ParseImage(mutated).ok();
    }
    EXPECT_GT(refused, 20);
  }
}

}  // namespace
}  // namespace hachi
