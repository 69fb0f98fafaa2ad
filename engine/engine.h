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
#include "engine/base/accuracy.h"
#include "engine/base/pass_report.h"
#include "engine/base/precision.h"
#include "engine/base/repair_report.h"
#include "engine/base/table_report.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/input_options.h"
#include "engine/tensor/integer_range.h"
#include "engine/tensor/shape.h"

// The engine's door: what a server (or a tool) needs to load a model and run it.
namespace hachi {

struct LoadOptions {
  std::string name;                            // for messages
  std::filesystem::path model;                 // the .onnx file
  std::filesystem::path table;                 // calibration table, ours or another tool's; empty: none
  Precision precision = Precision::kAuto;      // kAuto: int8 with a table, else fp32
  std::map<std::string, InputOptions> inputs;  // by input name; unknown names are errors
  std::map<std::string, Precision> layers;     // pins: node name or pattern with '*' -> precision
  std::string decisions;                       // ModelInfo::decisions, edited: overrule all else (but see
                                               // IsAdvice in engine/decide/decisions.h); empty: none
  std::filesystem::path tuned;                 // `hachi tune`'s decisions.txt, used with a table; empty: none
  std::string range_method = "auto";           // auto | min_max | percentile | entropy | mse
  Repairs repairs;                             // of what a table quantizes
  int64_t max_batch_rows = 1;                  // plans are made for batches up to this
  int64_t plan_bytes = int64_t{1} << 30;  // of all plans of a model whose shapes are free, arenas included
  int threads = 1;                        // of the team of a worker
  int wide_threads = 0;                   // of the wide team, see Team and MakePlans; 0: there is none
  std::set<std::string, std::less<>> skip_passes;  // by name, see engine/passes/pipeline.cc
  std::function<void(const PassReport&)> on_pass;  // called behind each pass; empty: nobody asks
  bool explain = false;                            // fills PassReport::changes and StepFacts::answers

  // LoadGuarded's, in engine/tune/guard.h; LoadModel and Compile leave both alone.
  GuardOptions guard;
  std::function<void(const GuardReport&)> on_guard;  // called with what the guard found; empty: nobody asks
};

// One input or output as clients see it.
struct TensorSignature {
  std::string name;
  DType dtype;
  std::vector<int64_t> dims;          // without the batch dimension when Signature::batched; -1: free
  std::optional<IntegerRange> range;  // of an s32 or s64 input that picks rows of a table
  bool decides = false;  // of an input: its elements decide dimensions, so that plans are made for them
  std::vector<std::string> symbols = {};  // of free dimensions, as `dims`: inputs' equal symbols have equal
                                          // sizes, an output's is a term over them, "2*length"

  bool is_free() const { return !symbols.empty(); }

  // Bytes of one row (of the whole tensor when not batched). REQUIRES: not free.
  size_t row_bytes() const { return static_cast<size_t>(CountOf(dims)) * SizeOf(dtype); }

  // "[3,height,width]".
  std::string DimsText() const {
    std::string text;
    for (size_t i = 0; i < dims.size(); ++i)
      text += (i > 0 ? "," : "") + (dims[i] < 0 ? symbols[i] : std::to_string(dims[i]));
    return "[" + text + "]";
  }
};

struct Signature {
  std::vector<TensorSignature> inputs, outputs;

  // Every input and output has a leading dimension that counts rows, and each row's answer is proven to come
  // from that row alone. Else a request is one whole tensor for each input, and runs by itself.
  bool batched = true;
  std::string why_not_batched;  // "node 'mean' (ReduceMean): computes across axis 0, which holds rows"
};

// Who runs a batch: a worker's team, or the wide one, which takes the whole machine for a lone request. Plans
// are made for each.
enum class Team { kWorker, kWide };

// The plans for rows of one set of shapes. Known by its address; whoever holds it keeps the plans.
//
// Thread-safe.
class PlanSet {
 public:
  virtual ~PlanSet() = default;

  // The most rows that one of its plans for workers takes. 0: there is none yet, and Run must not be called.
  virtual int64_t largest_rows() const = 0;

  // What a run took when its plan was made, by rows; those of sizes that take long are missing. Of the wide
  // team: empty where it has no plans.
  virtual std::map<int64_t, absl::Duration> run_times(Team team) const = 0;
};

// The shapes of one row of every input and output (of the whole tensors, when not batched), as clients see
// them. Requests with the same plans may run together.
struct RowShapes {
  std::vector<std::vector<int64_t>> inputs, outputs;  // in the signature's order
  std::vector<size_t> input_bytes, output_bytes;      // of one row
  std::shared_ptr<const PlanSet> plans;
  // Only a run finds how much there is in the outputs: here they are empty, and go to Rows::measured.
  bool measured = false;
};

// An output of which a run found how much there is.
struct MeasuredOutput {
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};

// Facts of a loaded model for logs and metrics.
struct ModelInfo {
  Precision precision = Precision::kFp32;
  std::string isa;             // of the plan's kernels, "avx512_core_vnni"
  int64_t weights_bytes = 0;   // packed weights, all copies
  int64_t weights_copies = 0;  // packed copies beyond one a weight
  int64_t arena_bytes = 0;     // of the largest plan, one for each worker
  std::map<std::string, int64_t> layers_by_precision;
  int64_t macs_per_row = 0;           // multiply-adds
  double int8_mac_ratio = 0;          // share of multiply-adds in INT8 steps
  double vnni_mac_ratio = 0;          // share of multiply-adds in steps on a VNNI kernel
  std::string why_not_bf16;           // what was asked to run in BF16, but does not; empty: nothing
  std::string decisions;              // in INT8: a line a node, see engine/decide/decisions.h
  TableReport table;                  // of a table that another tool wrote
  std::vector<RepairReport> repairs;  // that were made
  std::map<std::string, std::string> reference_steps;  // that run plain loops, and why no kernel takes them
};

// An input's bytes, scattered over several chunks, split anywhere, as they came from the network.
using InputChunks = std::vector<std::span<const std::byte>>;

// Consecutive rows of one request. Bytes are dense, row-major, little-endian, in the client's datatype and
// layout.
struct Rows {
  int64_t count = 0;
  std::shared_ptr<const RowShapes>
      shapes;                       // Model::ShapesOf; null: the only ones of a model without free shapes
  std::vector<InputChunks> inputs;  // in the signature's order; count × row_bytes each
  std::vector<std::span<std::byte>> outputs;  // in the signature's order; empty: not wanted
  // Where RowShapes::measured, a run puts every output here instead; else it is not looked at.
  std::vector<MeasuredOutput>* measured = nullptr;
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

// A tensor that a step reads or writes.
struct TensorFacts {
  std::string name;
  DType dtype = DType::kF32;
  // The real numbers that its integers reach, of channels with scales of their own the widest; equal where it
  // holds none that stand for real numbers.
  float low = 0, high = 0;
};

// One step of a plan.
struct StepFacts {
  std::string name, op, precision, kernel;
  std::string isa;    // that the kernel uses, "avx512_core_vnni"
  bool vnni = false;  // its products of bytes are summed in 32 bits
  std::vector<TensorFacts> inputs, outputs;
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
// Confined to one thread at a time, whose OpenMP team must have the size that plans for `team` were made for.
class RunContext {
 public:
  virtual ~RunContext() = default;
};

std::unique_ptr<RunContext> NewRunContext(Team team = Team::kWorker);

// A loaded model, ready to run.
//
// Thread-safe: immutable after load; concurrent runs need a RunContext each. Outlives its runs.
class Model {
 public:
  virtual ~Model() = default;

  virtual const Signature& signature() const = 0;
  virtual const ModelInfo& info() const = 0;

  // What rows of these input shapes make. Without free dimensions always the same; else plans may still have
  // to be made for it. INVALID_ARGUMENT, naming the input, what does not fit the signature or is beyond a
  // configured bound; RESOURCE_EXHAUSTED what could not run within LoadOptions::plan_bytes.
  // `values` are the inputs' bytes: read where TensorSignature::decides, and may be empty where none does.
  virtual absl::StatusOr<std::shared_ptr<const RowShapes>> ShapesOf(
      std::span<const std::vector<int64_t>> inputs, std::span<const InputChunks> values) const = 0;

  // Makes what plans these shapes still need for a batch of `rows` on that team. For the wide one, which
  // LoadModel makes none for, of every size up to that; none where there is no such team. Slow: call it off
  // the serving threads. The calling thread's team has that team's size afterwards. RESOURCE_EXHAUSTED when
  // LoadOptions::plan_bytes has no room beside the plans in use; what LoadModel says else. `plans` has its
  // old plans then.
  virtual absl::Status MakePlans(const PlanSet& plans, int64_t rows, Team team = Team::kWorker) const = 0;

  // What the plans of free shapes come to.
  struct PlanCacheStats {
    int64_t sets = 0, bytes = 0, evictions = 0;
  };
  virtual PlanCacheStats plan_cache_stats() const = 0;

  // Gathers the rows of all requests into one batch, runs it, and scatters the outputs into memory that the
  // caller owns. An answer does not depend on the batch it rode in (FP32 without AVX-512: but for rounding).
  // Does not allocate once the context has run a batch of that size, unless the shapes are measured.
  // REQUIRES: all have the same plans, one of which is made for the context's team; the rows fit the
  // signature (sizes as described at Rows; an integer out of an input's range spoils its own row only: the
  // table's part of it is NaN) and their counts add up to at most max_batch_rows; 1 when not batched.
  // INTERNAL when a kernel fails: no output is valid then.
  virtual absl::StatusOr<RunTimes> Run(RunContext& context, std::span<const Rows> requests) const = 0;

  // The plan that runs a batch of `rows` as text: see engine/plan/plan.h. For these, shapes are null where
  // none are free. INVALID_ARGUMENT beyond max_batch_rows; NOT_FOUND where MakePlans has not made it.
  virtual absl::StatusOr<std::string> PlanText(const RowShapes* shapes, int64_t rows) const = 0;

  // The steps of that plan, in order.
  virtual absl::StatusOr<std::vector<StepFacts>> Steps(const RowShapes* shapes, int64_t rows) const = 0;

  // Runs that plan `runs` times on whatever lies in its inputs and times each step, in order. Costs the run
  // two clock readings a step. REQUIRES: runs >= 1.
  virtual absl::StatusOr<std::vector<StepProfile>> Profile(RunContext& context, const RowShapes* shapes,
                                                           int64_t rows, int runs) const = 0;
};

// A model's file as it was read, to be compiled as often as wanted: in other precisions, by other decisions,
// for other threads or batches. What it compiles may outlive it; the file's own weights are kept as long as
// it.
//
// Thread-safe.
class ModelSource {
 public:
  virtual ~ModelSource() = default;

  // As LoadModel, but for reading the file: options.model is not looked at. Compiled models that need the
  // same packed weights share them.
  virtual absl::StatusOr<std::unique_ptr<Model>> Compile(const LoadOptions& options) const = 0;

  // Of the file and its external data, as calibration tables name it.
  virtual const std::string& sha256() const = 0;

  // Of the packed weights that its compiled models hold, shared ones once.
  virtual int64_t packed_bytes() const = 0;
};

// Reads the file, no more. Errors: NOT_FOUND no such file; DATA_LOSS damaged; UNIMPLEMENTED or
// INVALID_ARGUMENT what the file itself asks for.
absl::StatusOr<std::unique_ptr<ModelSource>> ImportModel(const std::filesystem::path& model);

// Imports and compiles once: optimises, quantizes, plans and warms up; the file's weights are kept no longer
// than wanted. Slow (up to seconds); call it off the serving threads. The calling thread's OpenMP team has
// options.threads threads afterwards. Errors: NOT_FOUND no such file; DATA_LOSS damaged file or table;
// FAILED_PRECONDITION table of another model; UNIMPLEMENTED operator or attribute; INVALID_ARGUMENT
// contradicting model or options; INTERNAL our bug.
absl::StatusOr<std::unique_ptr<Model>> LoadModel(const LoadOptions& options);

}  // namespace hachi
