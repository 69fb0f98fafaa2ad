// NumPy's arrays.
#include "engine/samples/tensor_file.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto tensor = hachi::ParseNpy(hachi::TextOf(data, size));
  if (!tensor.ok()) return 0;
  const auto again = hachi::ParseNpy(hachi::NpyBytes(tensor->view()));
  hachi::Require(again.ok() && again->shape() == tensor->shape(), "an array reads back");
  return 0;
}
