#include "engine/plan/plan.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/budget.h"
#include "engine/cpu/isa.h"
#include "engine/cpu/team.h"
#include "engine/ops/op.h"
#include "engine/plan/memory.h"

namespace hachi {
namespace {

// A product without a kernel runs its reference where that is a matter of a second or so. Guessed.
constexpr int64_t kMostReferenceMacs = 100'000'000;

std::string SpecText(const Place& place) {
  std::string text =
      absl::StrCat(place.name, ":", std::string(NameOf(place.spec.dtype)), ShapeText(place.spec.shape));
  if (!place.spec.layout.is_row_major()) absl::StrAppend(&text, " ", place.spec.layout.ToText());
  if (place.spec.quant) absl::StrAppend(&text, " ", place.spec.quant->ToText());
  return text;
}

// That a kernel may keep for each place along an axis: where it comes from, and how much it weighs.
constexpr int64_t kBytesOfPlace = 64;

}  // namespace

// Builds a plan: lowers, then lays out memory.
class PlanBuilder {
 public:
  PlanBuilder(const Graph& graph, const Bindings& bindings, WeightCache& weights, const PlanOptions& options)
      : graph_(graph), bindings_(bindings), weights_(weights), options_(options) {}

  absl::StatusOr<std::shared_ptr<const Plan>> Build() {
    plan_->threads_ = TeamSize();
    plan_->isa_ = options_.isa;
    RETURN_IF_ERROR(CheckShapes());
    for (const auto& node : graph_.nodes()) RETURN_IF_ERROR(Lower(*node));
    DropUnread();
    FindLifetimes();
    return LayOutMemory();
  }

 private:
  static absl::Status OutOfMemory(std::string_view what, int64_t bytes, int64_t memory) {
    return absl::ResourceExhaustedError(absl::StrCat(std::string(what), " takes ", bytes,
                                                     " bytes, expected at most ", memory,
                                                     ", the memory that this process may use"));
  }

  // The shapes that the symbols' values make can be counted in, and no node needs more than there is.
  absl::Status CheckShapes() const {
    for (const auto& [name, value] : graph_.values()) {
      const absl::StatusOr<Shape> shape = Evaluate(*value->dims, bindings_);
      const absl::Status status = shape.ok() ? CheckShape(*shape, SizeOf(value->dtype)) : shape.status();
      if (status.ok()) continue;
      const Node* producer = value->producer;
      return WithContext(status, producer == nullptr ? absl::StrCat("value '", name, "'")
                                                     : absl::StrCat("node '", producer->name, "' (",
                                                                    producer->op, "): output '", name, "'"));
    }
    // What kernels are made of may need as much as what they read and make, of empty tensors too, and some
    // numbers for each place along an axis.
    const int64_t memory = MemoryBudget();
    for (const auto& node : graph_.nodes()) {
      int64_t bytes = 0;
      for (const auto* values : {&node->inputs, &node->outputs})
        for (const Value* value : *values) {
          if (value == nullptr || value->is_constant()) continue;
          const TensorSpec spec = SpecOf(value);
          auto own = static_cast<int64_t>(SizeOf(spec.dtype));
          for (const int64_t dim : spec.shape) own *= std::max<int64_t>(dim, 1);
          bytes += own;
          if (!spec.shape.empty()) bytes = std::max(bytes, std::ranges::max(spec.shape) * kBytesOfPlace);
        }
      if (bytes > memory)
        return OutOfMemory(absl::StrCat("node '", node->name, "' (", node->op, ")"), bytes, memory);
    }
    return absl::OkStatus();
  }

  // A piece of the arena; several values share one where a step updates it or only renames it.
  struct Piece {
    size_t bytes = 0;
    int first = 0, last = 0;
  };

  absl::Status Lower(const Node& node) {
    const auto forced = options_.kernels.find(node.name);
    const LowerContext context{
        node,     bindings_,    plan_->threads_,
        weights_, options_.isa, forced == options_.kernels.end() ? "" : std::string_view(forced->second)};
    auto step = LowerNode(context);
    if (!step.ok()) return WithContext(step.status(), absl::StrCat("node '", node.name, "' (", node.op, ")"));
    const OpDef* op = FindOp(node.op);
    PlannedStep planned{.name = node.name, .op = node.op, .step = *std::move(step)};
    if (options_.explain) planned.answers = AskOffers(context);
    const StepInfo& info = planned.step->info();
    planned.what = absl::StrCat(node.op, "(");
    for (size_t i = 0; i < node.inputs.size(); ++i)
      absl::StrAppend(&planned.what, i ? ", " : "", node.inputs[i] ? node.inputs[i]->name : "_");
    planned.what += ')';
    for (size_t i = 0; i < node.post_ops.size(); ++i)
      absl::StrAppend(&planned.what, i ? " " : " post ", ToText(node.post_ops[i]));
    if (op->macs != nullptr) planned.macs = op->macs(context);
    if (planned.macs > kMostReferenceMacs && info.kernel.reference)
      return absl::UnimplementedError(absl::StrCat("node '", node.name, "' (", node.op,
                                                   "): no fast kernel for its ", planned.macs,
                                                   " multiply-adds, expected one: ", info.why_reference));
    bool bytes = false, bf16 = false;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      Place place;
      if (const Value* input = node.inputs[i]; input != nullptr) {
        place.spec = context.Spec(input);
        planned.bytes += place.spec.bytes();
        bytes |= place.spec.is_quantized_byte();
        bf16 |= place.spec.dtype == DType::kBF16;
        if (planned.step->Reads(i)) {
          place.name = input->name;
          place.constant = input->constant;
        }
      }
      planned.inputs.push_back(std::move(place));
    }
    for (const Value* output : node.outputs) {
      Place place{.name = output->name, .spec = context.Spec(output)};
      planned.bytes += place.spec.bytes();
      bytes |= place.spec.is_quantized_byte();
      planned.outputs.push_back(std::move(place));
    }
    if (info.view) planned.bytes = 0;
    const std::string_view of_tensors =
        bytes ? "int8" : NameOf(bf16 ? DType::kBF16 : planned.outputs[0].spec.dtype);
    planned.precision = std::string(info.precision.empty() ? of_tensors : info.precision);
    plan_->steps_.push_back(std::move(planned));
    nodes_.push_back(&node);
    return absl::OkStatus();
  }

  // Steps whose outputs no step reads, such as what computed a shape that inference knows.
  void DropUnread() {
    std::unordered_set<const Value*> read;
    for (const Graph::Output& output : graph_.outputs()) read.insert(output.value);
    std::vector<PlannedStep> steps;
    std::vector<const Node*> nodes;
    for (size_t i = nodes_.size(); i-- > 0;) {
      const Node& node = *nodes_[i];
      if (std::ranges::none_of(node.outputs, [&](const Value* output) { return read.contains(output); }))
        continue;
      for (size_t k = 0; k < node.inputs.size(); ++k)
        if (node.inputs[k] != nullptr && plan_->steps_[i].step->Reads(k)) read.insert(node.inputs[k]);
      steps.push_back(std::move(plan_->steps_[i]));
      nodes.push_back(&node);
    }
    plan_->steps_.assign(std::make_move_iterator(steps.rbegin()), std::make_move_iterator(steps.rend()));
    nodes_.assign(nodes.rbegin(), nodes.rend());
  }

  int NewPiece(const Value* value, int first) {
    pieces_.push_back({static_cast<size_t>(SpecOf(value).bytes()), first, std::max(first, LastUse(value))});
    return static_cast<int>(pieces_.size()) - 1;
  }

  TensorSpec SpecOf(const Value* value) const {
    TensorSpec spec{value->dtype, Evaluate(*value->dims, bindings_).value(), value->layout, value->quant};
    return spec;
  }

  int LastUse(const Value* value) const {
    const auto found = last_use_.find(value);
    return found == last_use_.end() ? -1 : found->second;
  }

  void FindLifetimes() {
    const int end = static_cast<int>(nodes_.size());
    for (int i = 0; i < end; ++i)
      for (size_t k = 0; k < nodes_[i]->inputs.size(); ++k)
        if (nodes_[i]->inputs[k] != nullptr && plan_->steps_[i].step->Reads(k))
          last_use_[nodes_[i]->inputs[k]] = i;
    for (const Graph::Output& output : graph_.outputs()) last_use_[output.value] = end;

    for (const Value* input : graph_.inputs()) piece_of_[input] = NewPiece(input, -1);
    for (int i = 0; i < end; ++i) {
      PlannedStep& step = plan_->steps_[i];
      const int in_place = step.step->info().in_place_input;
      for (size_t k = 0; k < nodes_[i]->outputs.size(); ++k) {
        const Value* output = nodes_[i]->outputs[k];
        if (k == 0 && in_place >= 0) {
          const Value* input = nodes_[i]->inputs[static_cast<size_t>(in_place)];
          if (CanTakeOver(i, input, step.step->info().view)) {
            const int piece = piece_of_.at(input);
            piece_of_[output] = piece;
            pieces_[piece].last = std::max(pieces_[piece].last, LastUse(output));
            continue;
          }
          step.copied_input = in_place;
        }
        piece_of_[output] = NewPiece(output, i);
      }
    }
  }

  // Whether step `i` may have its output where `input` lies: nobody reads that afterwards, nor does the step
  // through another input. A view only has to lie in the arena: its memory is everyone's.
  bool CanTakeOver(int i, const Value* input, bool view) const {
    if (input->is_constant()) return false;
    if (view) return true;
    const int piece = piece_of_.at(input);
    if (pieces_[piece].last > i) return false;
    int readers = 0;
    for (size_t k = 0; k < nodes_[i]->inputs.size(); ++k) {
      const Value* other = nodes_[i]->inputs[k];
      if (other == nullptr || other->is_constant() || !plan_->steps_[i].step->Reads(k)) continue;
      readers += piece_of_.at(other) == piece;
    }
    return readers == 1;
  }

  absl::StatusOr<std::shared_ptr<const Plan>> LayOutMemory() {
    std::vector<Lifetime> lifetimes;
    for (const Piece& piece : pieces_) lifetimes.push_back({piece.bytes, piece.first, piece.last});
    const MemoryLayout layout = LayOut(lifetimes);
    plan_->scratch_offset_ = layout.arena_bytes;
    plan_->arena_bytes_ = layout.arena_bytes;
    for (const PlannedStep& step : plan_->steps_)
      plan_->arena_bytes_ =
          std::max(plan_->arena_bytes_, layout.arena_bytes + step.step->info().scratch_bytes);

    // References keep their outputs beside the arena.
    int64_t bytes = static_cast<int64_t>(plan_->arena_bytes_);
    for (const PlannedStep& step : plan_->steps_)
      if (step.step->info().kernel.reference)
        for (const Place& output : step.outputs) bytes += output.spec.bytes();
    if (const int64_t memory = MemoryBudget(); bytes > memory) return OutOfMemory("a run", bytes, memory);

    const auto offset_of = [&](const Value* value) {
      return value->is_constant() ? 0 : layout.offsets[static_cast<size_t>(piece_of_.at(value))];
    };
    for (size_t i = 0; i < nodes_.size(); ++i) {
      PlannedStep& step = plan_->steps_[i];
      for (size_t k = 0; k < step.inputs.size(); ++k)
        if (!step.inputs[k].name.empty()) step.inputs[k].offset = offset_of(nodes_[i]->inputs[k]);
      for (size_t k = 0; k < step.outputs.size(); ++k)
        step.outputs[k].offset = offset_of(nodes_[i]->outputs[k]);
    }
    for (const Value* input : graph_.inputs())
      plan_->inputs_.push_back({input->name, SpecOf(input), offset_of(input), nullptr});
    for (const Graph::Output& output : graph_.outputs())
      plan_->outputs_.push_back(
          {output.name, SpecOf(output.value), offset_of(output.value), output.value->constant});
    return std::shared_ptr<const Plan>(std::move(plan_));
  }

  const Graph& graph_;
  const Bindings& bindings_;
  WeightCache& weights_;
  const PlanOptions& options_;
  std::unique_ptr<Plan> plan_ = std::unique_ptr<Plan>(new Plan());
  std::vector<const Node*> nodes_;  // of each step
  std::unordered_map<const Value*, int> last_use_, piece_of_;
  std::vector<Piece> pieces_;
};

absl::StatusOr<std::shared_ptr<const Plan>> Plan::Create(const Graph& graph, const Bindings& bindings,
                                                         WeightCache& weights, const PlanOptions& options) {
  return PlanBuilder(graph, bindings, weights, options).Build();
}

int64_t Plan::macs() const {
  int64_t sum = 0;
  for (const PlannedStep& step : steps_) sum += step.macs;
  return sum;
}

int64_t Plan::int8_macs() const {
  int64_t sum = 0;
  for (const PlannedStep& step : steps_)
    if (step.precision == "int8") sum += step.macs;
  return sum;
}

int64_t Plan::vnni_macs() const {
  int64_t sum = 0;
  for (const PlannedStep& step : steps_)
    if (step.precision == "int8" && step.step->info().kernel.vnni) sum += step.macs;
  return sum;
}

std::string Plan::ToText() const {
  std::string text = absl::StrFormat(
      "plan: %d steps, threads=%d isa=%s arena_bytes=%d macs=%d int8_macs=%d vnni_macs=%d\n", steps_.size(),
      threads_, std::string(NameOf(isa_)), arena_bytes_, macs(), int8_macs(), vnni_macs());
  for (const Place& input : inputs_) absl::StrAppend(&text, "input ", SpecText(input), "\n");
  for (const PlannedStep& step : steps_) {
    const KernelFacts& kernel = step.step->info().kernel;
    absl::StrAppend(&text, step.name, ": ", step.what, " | ", step.precision, " kernel=", kernel.name,
                    " isa=", std::string(NameOf(kernel.isa)), " macs=", step.macs, " bytes=", step.bytes);
    if (step.copied_input >= 0) absl::StrAppend(&text, " copies=", step.inputs[step.copied_input].name);
    text += " | in";
    for (const Place& input : step.inputs)
      if (!input.name.empty()) absl::StrAppend(&text, " ", SpecText(input), ";");
    text += " | out";
    for (const Place& output : step.outputs) absl::StrAppend(&text, " ", SpecText(output), ";");
    text += '\n';
  }
  for (const Place& output : outputs_) absl::StrAppend(&text, "output ", SpecText(output), "\n");
  return text;
}

}  // namespace hachi
