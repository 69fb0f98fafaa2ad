// The text of a dimension.
#include "engine/graph/dim.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto dim = hachi::Dim::Parse(hachi::TextOf(data, size));
  if (!dim.ok()) return 0;
  const auto again = hachi::Dim::Parse(dim->ToText());
  hachi::Require(again.ok() && *again == *dim, "a dimension reads back from its text");
  (void)dim->Evaluate({{"N", 3}, {"M", 1 << 20}});
  (void)(*dim * *dim + *dim - hachi::Dim::FloorDiv(*dim, 7)).ToText();
  (void)dim->ExactQuotient(hachi::Dim::Symbol("N") * 2);
  return 0;
}
