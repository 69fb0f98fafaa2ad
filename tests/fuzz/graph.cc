// The text of a graph, and what passes make of it.
#include "engine/graph/graph.h"

#include "engine/passes/pass.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto graph = hachi::ParseGraph(hachi::TextOf(data, size));
  if (!graph.ok()) return 0;
  const std::string text = hachi::ToText(*graph, /*max_constant_elements=*/1 << 20);
  const auto again = hachi::ParseGraph(text);
  hachi::Require(again.ok() && hachi::ToText(*again, 1 << 20) == text, "a graph reads back from its text");
  if (hachi::RunPasses(*graph, hachi::PreparePasses(), {}).ok())
    (void)hachi::RunPasses(*graph, hachi::OptimizePasses(), {});
  return 0;
}
