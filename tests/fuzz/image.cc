// PNG and JPEG.
#include "engine/samples/tensor_file.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto image = hachi::ParseImage(hachi::TextOf(data, size));
  if (image.ok()) hachi::Require(image->shape().size() == 3, "an image has height, width and channels");
  return 0;
}
