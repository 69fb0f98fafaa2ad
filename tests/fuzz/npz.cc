// NumPy's archives.
#include "engine/samples/tensor_file.h"
#include "tests/fuzz/input_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)hachi::ReadNpz(hachi::InputFile(data, size).path());
  return 0;
}
