// What was decided of each node, as text.
#include "engine/decide/decisions.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto decisions = hachi::Decisions::Parse(hachi::TextOf(data, size));
  if (!decisions.ok()) return 0;
  const std::string text = decisions->ToText();
  const auto again = hachi::Decisions::Parse(text);
  hachi::Require(again.ok() && again->ToText() == text, "decisions read back from their text");
  return 0;
}
