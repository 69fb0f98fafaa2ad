// clang-format off
#include <cstdio>
#include <jpeglib.h>  // uses what that one declares
// clang-format on

#include <csetjmp>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/samples/image_codecs.h"

namespace hachi {
namespace {

// One image that is read. The library leaves a call that fails by longjmp, so calls stand in functions that
// own nothing. What it warns of is damage too: it would go on with made-up pixels.
class JpegReader {
 public:
  explicit JpegReader(std::string_view bytes) : bytes_(bytes) {
    jpeg_.err = jpeg_std_error(&errors_);
    errors_.error_exit = Fail;
    errors_.emit_message = Warn;
    jpeg_.client_data = this;
  }
  ~JpegReader() { jpeg_destroy_decompress(&jpeg_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  absl::StatusOr<Tensor> Read() {
    if (!ReadHeader()) return Damaged();
    RETURN_IF_ERROR(CheckPixels(jpeg_.image_width, jpeg_.image_height));
    if (!Start()) return Damaged();
    const int64_t height = jpeg_.output_height, width = jpeg_.output_width, stored = jpeg_.output_components;
    Tensor pixels(DType::kU8, {height, width, stored});
    if (!ReadRows(reinterpret_cast<JSAMPLE*>(pixels.bytes().data()))) return Damaged();
    return stored == 4 ? ToColor(pixels) : std::move(pixels);
  }

 private:
  static JpegReader& Of(j_common_ptr jpeg) { return *static_cast<JpegReader*>(jpeg->client_data); }

  static void Fail(j_common_ptr jpeg) {
    jpeg->err->format_message(jpeg, Of(jpeg).message_);
    longjmp(Of(jpeg).failed_, 1);
  }
  static void Warn(j_common_ptr jpeg, int level) {
    if (level < 0) Fail(jpeg);
  }

  bool ReadHeader() {
    if (setjmp(failed_) != 0) return false;
    jpeg_create_decompress(&jpeg_);
    jpeg_mem_src(&jpeg_, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
    jpeg_read_header(&jpeg_, TRUE);
    return true;
  }

  // Decodes to gray, color, or four inks.
  bool Start() {
    if (setjmp(failed_) != 0) return false;
    if (jpeg_.num_components == 4)
      jpeg_.out_color_space = JCS_CMYK;
    else
      jpeg_.out_color_space = jpeg_.num_components < 3 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&jpeg_);
    return true;
  }

  bool ReadRows(JSAMPLE* pixels) {
    if (setjmp(failed_) != 0) return false;
    const size_t row = size_t{jpeg_.output_width} * static_cast<size_t>(jpeg_.output_components);
    while (jpeg_.output_scanline < jpeg_.output_height) {
      JSAMPROW to = pixels + jpeg_.output_scanline * row;
      jpeg_read_scanlines(&jpeg_, &to, 1);
    }
    jpeg_finish_decompress(&jpeg_);
    return true;
  }

  // Cyan, magenta, yellow and black as red, green and blue. Adobe writes them inverted.
  Tensor ToColor(const Tensor& inks) const {
    const auto from = inks.As<uint8_t>();
    Tensor color(DType::kU8, {inks.shape()[0], inks.shape()[1], 3});
    const auto to = color.As<uint8_t>();
    const auto light = [&](size_t i) { return jpeg_.saw_Adobe_marker ? from[i] : 255 - from[i]; };
    for (size_t i = 0; i < to.size(); ++i) {
      const size_t pixel = i / 3 * 4;
      to[i] = static_cast<uint8_t>((light(pixel + i % 3) * light(pixel + 3) + 127) / 255);
    }
    return color;
  }

  absl::Status Damaged() const {
    return absl::DataLossError(absl::StrCat("JPEG image cannot be decoded: ", message_));
  }

  const std::string_view bytes_;
  char message_[JMSG_LENGTH_MAX] = {};
  std::jmp_buf failed_;
  jpeg_error_mgr errors_ = {};
  jpeg_decompress_struct jpeg_ = {};
};

}  // namespace

absl::StatusOr<Tensor> ParseJpeg(std::string_view bytes) { return JpegReader(bytes).Read(); }

}  // namespace hachi
