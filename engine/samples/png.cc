#include <png.h>

#include <csetjmp>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/samples/image_codecs.h"

namespace hachi {
namespace {

// One image that is read. The library leaves a call that fails by longjmp, so calls stand in functions that
// own nothing.
class PngReader {
 public:
  explicit PngReader(std::string_view bytes)
      : bytes_(bytes),
        png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, this, Fail, Ignore)),
        info_(png_ == nullptr ? nullptr : png_create_info_struct(png_)) {}
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  absl::StatusOr<Tensor> Read() {
    if (png_ == nullptr || info_ == nullptr) return absl::ResourceExhaustedError("no memory for a PNG image");
    if (!ReadHeader()) return Damaged();
    const int64_t height = png_get_image_height(png_, info_), width = png_get_image_width(png_, info_);
    RETURN_IF_ERROR(CheckPixels(width, height));
    if (!Convert()) return Damaged();
    const int64_t channels = png_get_channels(png_, info_);
    Tensor image(DType::kU8, {height, width, channels});
    std::vector<png_bytep> rows;
    for (int64_t y = 0; y < height; ++y)
      rows.push_back(reinterpret_cast<png_bytep>(image.bytes().data() + y * width * channels));
    if (!ReadRows(rows.data())) return Damaged();
    return image;
  }

 private:
  static void Fail(png_structp png, png_const_charp message) {
    auto& reader = *static_cast<PngReader*>(png_get_error_ptr(png));
    std::strncpy(reader.message_, message, sizeof reader.message_ - 1);
    longjmp(reader.failed_, 1);
  }
  static void Ignore(png_structp /*png*/, png_const_charp /*message*/) {}

  static void Take(png_structp png, png_bytep out, size_t count) {
    auto& reader = *static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > reader.bytes_.size() - reader.at_) png_error(png, "the file ends early");
    std::memcpy(out, reader.bytes_.data() + reader.at_, count);
    reader.at_ += count;
  }

  bool ReadHeader() {
    if (setjmp(failed_) != 0) return false;
    png_set_read_fn(png_, this, Take);
    png_read_info(png_, info_);
    return true;
  }

  // To 8 bits of gray or color.
  bool Convert() {
    if (setjmp(failed_) != 0) return false;
    png_set_expand(png_);
    png_set_strip_16(png_);
    png_set_strip_alpha(png_);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  bool ReadRows(png_bytepp rows) {
    if (setjmp(failed_) != 0) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

  absl::Status Damaged() const {
    return absl::DataLossError(absl::StrCat("PNG image cannot be decoded: ", message_));
  }

  const std::string_view bytes_;
  size_t at_ = 0;
  char message_[160] = {};
  std::jmp_buf failed_;
  png_structp png_;
  png_infop info_;
};

}  // namespace

absl::StatusOr<Tensor> ParsePng(std::string_view bytes) { return PngReader(bytes).Read(); }

}  // namespace hachi
