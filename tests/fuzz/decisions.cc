// What was decided of each node, as text: of a model alone, and as a file that a tuner wrote.
#include "engine/decide/decisions.h"

#include "engine/decide/tuned.h"
#include "tests/fuzz/fuzz.h"

namespace {

template <typename T>
void ReadBack(std::string_view from) {
  const auto parsed = T::Parse(from);
  if (!parsed.ok()) return;
  const std::string text = parsed->ToText();
  const auto again = T::Parse(text);
  hachi::Require(again.ok() && again->ToText() == text, "decisions read back from their text");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ReadBack<hachi::Decisions>(hachi::TextOf(data, size));
  ReadBack<hachi::TunedDecisions>(hachi::TextOf(data, size));
  return 0;
}
