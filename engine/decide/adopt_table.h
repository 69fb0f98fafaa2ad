#pragma once

#include "absl/status/statusor.h"
#include "engine/base/table_report.h"
#include "engine/graph/graph.h"
#include "engine/quant/calibration_table.h"
#include "engine/quant/foreign_table.h"

namespace hachi {

struct AdoptedTable {
  CalibrationTable table;  // of ranges alone: tensors that it lacks stay FP32
  TableReport report;
};

// The ranges of another tool's table for the tensors of an unfused graph, whose shapes and types are
// inferred. Where the tool kept magnitudes alone, a tensor that can't be negative gets the range from zero
// on. FAILED_PRECONDITION when the model has none of the table's names.
absl::StatusOr<AdoptedTable> AdoptTable(const ForeignTable& foreign, const Graph& graph);

}  // namespace hachi
