#include <stb/stb_image.h>

#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/samples/tensor_file.h"

namespace hachi {
namespace {

constexpr size_t kMaxFileBytes = size_t{64} << 20;
constexpr int64_t kMaxPixels = int64_t{1} << 26;  // a camera's largest picture

struct FreeImage {
  void operator()(stbi_uc* pixels) const { stbi_image_free(pixels); }
};

}  // namespace

absl::StatusOr<Tensor> ParseImage(std::string_view bytes) {
  // The library reads many formats by their content; it sees only the two that we mean.
  const bool png = bytes.substr(0, 4) == "\x89PNG", jpeg = bytes.substr(0, 2) == "\xFF\xD8";
  if (!png && !jpeg) return absl::DataLossError("neither a PNG nor a JPEG image, expected one");
  if (bytes.size() > kMaxFileBytes)
    return absl::InvalidArgumentError(
        absl::StrCat("image file has ", bytes.size(), " bytes, expected at most ", kMaxFileBytes));
  const auto* data = reinterpret_cast<const stbi_uc*>(bytes.data());
  const int size = static_cast<int>(bytes.size());
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(data, size, &width, &height, &channels))
    return absl::DataLossError(absl::StrCat("image header cannot be read: ", stbi_failure_reason()));
  if (int64_t{width} * height > kMaxPixels)
    return absl::InvalidArgumentError(
        absl::StrCat("image has ", width, "x", height, " pixels, expected at most ", kMaxPixels));
  const int wanted = channels < 3 ? 1 : 3;
  const std::unique_ptr<stbi_uc, FreeImage> pixels(
      stbi_load_from_memory(data, size, &width, &height, &channels, wanted));
  if (pixels == nullptr)
    return absl::DataLossError(absl::StrCat("image cannot be decoded: ", stbi_failure_reason()));
  Tensor image(DType::kU8, {height, width, wanted});
  std::memcpy(image.bytes().data(), pixels.get(), image.bytes().size());
  return image;
}

}  // namespace hachi
