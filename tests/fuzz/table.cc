// A calibration table, ours or another tool's.
#include "engine/quant/calibration_table.h"
#include "engine/quant/foreign_table.h"
#include "engine/quant/range.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = hachi::TextOf(data, size);
  if (hachi::IsForeignTable(text)) {
    if (const auto table = hachi::ParseForeignTable(text); table.ok())
      for (const auto& [name, range] : table->ranges)
        hachi::Require(range.min <= range.max, "a range has its ends in order");
    return 0;
  }
  auto table = hachi::CalibrationTable::Parse(text);
  if (!table.ok()) return 0;
  const std::string written = table->ToText();
  const auto again = hachi::CalibrationTable::Parse(written);
  hachi::Require(again.ok() && again->ToText() == written, "a table reads back from its text");
  for (const auto& [name, entry] : table->tensors())
    if (entry.stats.quantizable())
      hachi::Require(hachi::ChooseActivationQuant(entry.stats, hachi::RangeMethod::kAuto).ok(),
                     "what was seen can be stored");
  hachi::Require(table->Merge(*again).ok(), "a table merges with itself");
  (void)hachi::OnnxRuntimeText(*table);
  return 0;
}
