#pragma once

#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/pass_report.h"
#include "engine/base/repair_report.h"
#include "engine/decide/decisions.h"
#include "engine/graph/graph.h"
#include "engine/quant/calibration_table.h"
#include "engine/quant/range.h"

namespace hachi {

// What passes need to know besides the graph.
struct PassOptions {
  const CalibrationTable* table = nullptr;  // null: everything stays FP32
  RangeMethod range_method = RangeMethod::kAuto;
  int weight_bits = 8;             // 7 on CPUs whose u8 × s8 pair sums saturate; see QuantizeWeights
  bool signed_activations = true;  // false: u8 only, with a zero point where needed

  std::map<std::string, Precision> pins;  // as Rules::pins
  const Decisions* given = nullptr;       // as Rules::given
  bool is_part = false;                   // as Rules::is_part
  bool dynamic = false;  // products quantize what they read by row, by what a run finds; there is no table
  bool int8_weights = false;  // products read s8 weights and real numbers; there is no table
  bool bf16 = false;          // products that are not pinned run in BF16
  Repairs repairs;
  std::vector<RepairReport>* repaired = nullptr;  // what was repaired goes here; null: nobody asks
  Decisions* decided = nullptr;                   // what was decided goes here; null: nobody asks

  std::set<std::string, std::less<>> skip;         // passes that do not run
  bool report_changes = false;                     // PassReport::changes: costs the graph's text twice a pass
  std::function<void(const PassReport&)> on_pass;  // called behind each that ran; empty: nobody asks
};

// What the product is to compute in where it can: as was decided of it, else as it is pinned, else as the
// model is asked for.
Precision WantedPrecision(const PassOptions& options, std::string_view node);

// One change to a graph. Names of values that calibration saw are kept: ranges are found by them.
struct Pass {
  std::string_view name;
  absl::Status (*run)(Graph& graph, const PassOptions& options);
};

// Shared by inference and calibration: after them, the graph computes what the file says, no more.
std::span<const Pass> PreparePasses();

// What calibration runs after that: nothing is fused, so that every value is there to be seen.
std::span<const Pass> ObservePasses();

// Fuses, chooses layouts, and quantizes where there is a table.
std::span<const Pass> OptimizePasses();

// INVALID_ARGUMENT where a name is that of no pass.
absl::Status CheckPassNames(const std::set<std::string, std::less<>>& names);

// Runs the passes in order. Before the first and after each, dead nodes are removed, the structure is
// verified, and every node's types and shapes are inferred. Errors name the pass.
absl::Status RunPasses(Graph& graph, std::span<const Pass> passes, const PassOptions& options);

}  // namespace hachi
