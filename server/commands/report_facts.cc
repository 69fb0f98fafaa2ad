#include "server/commands/report_facts.h"

#include <algorithm>
#include <filesystem>
#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/quant/drift.h"
#include "engine/quant/foreign_table.h"
#include "engine/quant/noise.h"
#include "engine/shadow/shadow_model.h"
#include "server/commands/model_argument.h"
#include "server/commands/report_measure.h"

namespace hachi::server {
namespace {

// Of a picture a few hundred pixels wide.
constexpr size_t kBins = 96;
constexpr size_t kMaxTuneBytes = size_t{1} << 20;

std::vector<uint64_t> Binned(const TensorStats& stats) {
  const Histogram& histogram = stats.histogram();
  const double reach = double{stats.max()} - stats.min();
  std::vector<uint64_t> counts(kBins);
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    const double place = reach > 0 ? (histogram.MiddleOf(i) - stats.min()) / reach * kBins : 0;
    counts[static_cast<size_t>(std::clamp<double>(place, 0, kBins - 1))] += histogram.counts()[i];
  }
  return counts;
}

// What of the table is stored as integers in these steps.
absl::StatusOr<std::vector<StoredTensor>> TensorsOf(const std::filesystem::path& table,
                                                    const std::vector<StepFacts>& steps) {
  std::vector<StoredTensor> tensors;
  if (table.empty()) return tensors;
  ASSIGN_OR_RETURN(const auto read, ReadAnyTable(table));
  const auto* ours = std::get_if<CalibrationTable>(&read);
  if (ours == nullptr) return tensors;
  for (const auto& [name, range] : RangesOf(steps)) {
    const CalibrationTable::Entry* line = ours->Line(name);
    if (line == nullptr || line->stats.count() == line->stats.nonfinite()) continue;
    const TensorStats& stats = line->stats;
    const RangeUse use = UseOfRange(stats, range.low, range.high);
    tensors.push_back({.name = name,
                       .low = range.low,
                       .high = range.high,
                       .min = stats.min(),
                       .max = stats.max(),
                       .clipped = use.clipped,
                       .used = use.used,
                       .snr_db = SignalToNoise(stats.histogram(), range.low, range.high),
                       .counts = Binned(stats)});
  }
  return tensors;
}

// tune.json beside the model; empty: there is none.
absl::StatusOr<std::string> ReadTune(const std::filesystem::path& model) {
  auto text = ReadFile(model.parent_path() / "tune.json", kMaxTuneBytes);
  return absl::IsNotFound(text.status()) ? absl::StatusOr<std::string>(std::string()) : std::move(text);
}

}  // namespace

absl::StatusOr<ReportFacts> GatherReport(const ReportOptions& options) {
  SetTeam(1);
  ReportFacts facts{.model = options.load.name};
  LoadOptions served_options = options.load;
  served_options.max_batch_rows = options.batch;
  LoadOptions fp32_options = served_options;
  fp32_options.precision = Precision::kFp32;
  fp32_options.table.clear();
  served_options.explain = true;
  served_options.on_pass = [&](const PassReport& report) { facts.passes.push_back(report); };
  ASSIGN_OR_RETURN(MeasuredModel served, LoadMeasured(served_options));
  ASSIGN_OR_RETURN(MeasuredModel fp32, LoadMeasured(fp32_options));

  const Model& model = *served.model;
  facts.batch = model.signature().batched ? options.batch : 1;
  facts.isa = model.info().isa;
  facts.why_not_batched = model.signature().why_not_batched;
  facts.int8_mac_ratio = model.info().int8_mac_ratio;
  facts.vnni_mac_ratio = model.info().vnni_mac_ratio;
  facts.repairs = model.info().repairs;
  RETURN_IF_ERROR(MeasureInTurns(served, fp32, facts.batch, options.seconds));
  facts.served = served.speed;
  facts.fp32 = fp32.speed;
  ASSIGN_OR_RETURN(facts.steps, ProfileSteps(served, facts.batch, options.seconds));
  ASSIGN_OR_RETURN(const std::vector<StepFacts> steps, model.Steps(served.shapes.get(), facts.batch));
  ASSIGN_OR_RETURN(facts.tensors, TensorsOf(options.load.table, steps));
  ASSIGN_OR_RETURN(facts.tune, ReadTune(options.load.model));
  if (!options.data.empty()) {
    ASSIGN_OR_RETURN(facts.accuracy, CompareOnData(model, *fp32.model, options.data));
  }
  return facts;
}

}  // namespace hachi::server
