#include "absl/strings/str_cat.h"
#include "engine/samples/image_codecs.h"
#include "engine/samples/tensor_file.h"

namespace hachi {

absl::Status CheckPixels(int64_t width, int64_t height) {
  if (width * height <= kMaxPixels) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("image has ", width, "x", height, " pixels, expected at most ", kMaxPixels));
}

absl::StatusOr<Tensor> ParseImage(std::string_view bytes) {
  constexpr size_t kMaxFileBytes = size_t{64} << 20;
  const bool png = bytes.substr(0, 4) == "\x89PNG", jpeg = bytes.substr(0, 2) == "\xFF\xD8";
  if (!png && !jpeg) return absl::DataLossError("neither a PNG nor a JPEG image, expected one");
  if (bytes.size() > kMaxFileBytes)
    return absl::InvalidArgumentError(
        absl::StrCat("image file has ", bytes.size(), " bytes, expected at most ", kMaxFileBytes));
  return png ? ParsePng(bytes) : ParseJpeg(bytes);
}

}  // namespace hachi
