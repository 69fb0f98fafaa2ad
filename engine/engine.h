#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/base/pass_report.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/input_options.h"
#include "engine/tensor/integer_range.h"
#include "engine/tensor/shape.h"

// The engine's door: what a server (or a tool) needs to load a model and run it.
namespace hachi {

enum class Precision { kAuto, kInt8, kBf16, kFp32 };

struct LoadOptions {
  std::string name;                                // for messages
  std::filesystem::path model;                     // the .onnx file
  std::filesystem::path table;                     // calibration table; empty: none
  Precision precision = Precision::kAuto;          // kAuto: int8 with a table, else fp32
  std::map<std::string, InputOptions> inputs;      // by input name; unknown names are errors
  std::map<std::string, Precision> layers;         // pins: node name or pattern with '*' -> precision
  std::string range_method = "auto";               // auto | min_max | percentile | entropy | mse
  int64_t max_batch_rows = 1;                      // plans are made for batches up to this
  int threads = 1;                                 // of the team that will run it
  std::set<std::string, std::less<>> skip_passes;  // by name, see engine/passes/pipeline.cc
  std::function<void(const PassReport&)> on_pass;  // called behind each pass; empty: nobody asks
  bool explain = false;                            // fills PassReport::changes and StepFacts::answers
};

// One input or output as clients see it.
struct TensorSignature {
  std::string name;
  DType dtype;
  std::vector<int64_t> dims;          // without the batch dimension when Signature::batched
  std::optional<IntegerRange> range;  // of an s32 or s64 input that picks rows of a table

  // Bytes of one row (of the whole tensor when not batched).
  size_t row_bytes() const { return static_cast<size_t>(CountOf(dims)) * SizeOf(dtype); }
};

struct Signature {
  std::vector<TensorSignature> inputs, outputs;
  bool batched = true;  // every input and output has a leading dimension that counts rows
};

// Facts of a loaded model for logs and metrics.
struct ModelInfo {
  std::string precision;       // "int8", "fp32"
  std::string isa;             // of the plan's kernels, "avx512_core_vnni"
  int64_t weights_bytes = 0;   // packed weights, all copies
  int64_t weights_copies = 0;  // packed copies beyond one a weight
  int64_t arena_bytes = 0;     // of the largest plan, one for each worker
  std::map<std::string, int64_t> layers_by_precision;
  int64_t macs_per_row = 0;                     // multiply-adds
  double int8_mac_ratio = 0;                    // share of multiply-adds in INT8 steps
  double vnni_mac_ratio = 0;                    // share of multiply-adds in steps on a VNNI kernel
  std::map<int64_t, absl::Duration> run_times;  // by rows, of the sizes that have plans; measured at warm-up
  std::map<std::string, std::string> reference_steps;  // that run plain loops, and why no kernel takes them
};

// Consecutive rows of one request. Bytes are dense, row-major, little-endian, in the client's datatype and
// layout. An input may be scattered over several chunks, split anywhere, as they came from the network.
struct Rows {
  int64_t count = 0;
  std::vector<std::vector<std::span<const std::byte>>>
      inputs;                                 // in the signature's order; count × row_bytes each
  std::vector<std::span<std::byte>> outputs;  // in the signature's order; empty: not wanted
};

// Where a Run's time went.
struct RunTimes {
  absl::Duration gather, compute, scatter;
};

// What a kernel says of a step.
struct KernelAnswer {
  std::string kernel;
  std::string refusal;  // why it does not take the step; empty: it does
};

// One step of a plan.
struct StepFacts {
  std::string name, op, precision, kernel;
  std::vector<int64_t> shape;         // of its first output
  int64_t macs = 0;                   // multiply-adds
  int64_t bytes = 0;                  // read and written, weights included
  std::vector<KernelAnswer> answers;  // the preferred kernel first; only with LoadOptions::explain
};

// One step of a plan, timed.
struct StepProfile : StepFacts {
  absl::Duration time;  // median over the runs
};

// What one thread needs to run plans: the arena, the oneDNN stream, plans bound to them. Models share it.
//
// Confined to one thread at a time, whose OpenMP team must have the size it was made for.
class RunContext {
 public:
  virtual ~RunContext() = default;
};

std::unique_ptr<RunContext> NewRunContext();

// A loaded model, ready to run.
//
// Thread-safe: immutable after load; concurrent runs need a RunContext each. Outlives its runs.
class Model {
 public:
  virtual ~Model() = default;

  virtual const Signature& signature() const = 0;
  virtual const ModelInfo& info() const = 0;

  // Gathers the rows of all requests into one batch, runs it, and scatters the outputs into memory that the
  // caller owns. An answer does not depend on the batch it rode in (FP32 without AVX-512: but for rounding).
  // Does not allocate once the context has run a batch of that size. REQUIRES: the rows fit the signature
  // (sizes as described at Rows; an integer out of an input's range spoils its own row only: the table's part
  // of it is NaN) and their counts add up to at most max_batch_rows; 1 when not batched. INTERNAL when a
  // kernel fails: no output is valid then.
  virtual absl::StatusOr<RunTimes> Run(RunContext& context, std::span<const Rows> requests) const = 0;

  // The plan that runs a batch of `rows` as text: see engine/plan/plan.h. INVALID_ARGUMENT beyond
  // max_batch_rows.
  virtual absl::StatusOr<std::string> PlanText(int64_t rows) const = 0;

  // The steps of that plan, in order.
  virtual absl::StatusOr<std::vector<StepFacts>> Steps(int64_t rows) const = 0;

  // Runs that plan `runs` times on whatever lies in its inputs and times each step, in order. Costs the run
  // two clock readings a step. REQUIRES: runs >= 1.
  virtual absl::StatusOr<std::vector<StepProfile>> Profile(RunContext& context, int64_t rows,
                                                           int runs) const = 0;
};

// Imports, optimises, quantizes, plans and warms up. Slow (up to seconds); call it off the serving threads.
// The calling thread's OpenMP team has options.threads threads afterwards. Errors: NOT_FOUND no such file;
// DATA_LOSS damaged file or table; FAILED_PRECONDITION table of another model; UNIMPLEMENTED operator or
// attribute; INVALID_ARGUMENT contradicting model or options; INTERNAL our bug.
absl::StatusOr<std::unique_ptr<Model>> LoadModel(const LoadOptions& options);

}  // namespace hachi
