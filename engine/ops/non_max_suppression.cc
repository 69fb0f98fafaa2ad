// NonMaxSuppression (ONNX opset 11): of boxes that overlap, the one with the highest score.
#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/measured.h"
#include "engine/ops/op.h"

namespace hachi {
namespace {

struct Box {
  float low_x, low_y, high_x, high_y;

  float area() const { return (high_x - low_x) * (high_y - low_y); }
};

// Four numbers as opposite corners [y1, x1, y2, x2], in any order; or as [x, y, width, height] of the center.
Box BoxOf(const float* numbers, bool center) {
  if (center) {
    const float half_width = numbers[2] / 2, half_height = numbers[3] / 2;
    return {numbers[0] - half_width, numbers[1] - half_height, numbers[0] + half_width,
            numbers[1] + half_height};
  }
  return {std::min(numbers[1], numbers[3]), std::min(numbers[0], numbers[2]),
          std::max(numbers[1], numbers[3]), std::max(numbers[0], numbers[2])};
}

// Whether intersection over union is above the threshold. Boxes without an area overlap nothing.
bool Overlap(const Box& a, const Box& b, float threshold) {
  const float width = std::min(a.high_x, b.high_x) - std::max(a.low_x, b.low_x),
              height = std::min(a.high_y, b.high_y) - std::max(a.low_y, b.low_y);
  if (!(width > 0) || !(height > 0) || !(a.area() > 0) || !(b.area() > 0)) return false;
  const float both = width * height;
  return both > threshold * (a.area() + b.area() - both);
}

// What the node asks for, of these inputs.
struct Query {
  std::span<const float> boxes, scores;
  int64_t batches, classes, count;  // count: boxes of a batch
  int64_t most;                     // of a class
  float overlap, score;
  bool center;
};

struct Choice {
  int64_t batch, of_class, box;
};

Query QueryOf(std::span<const TensorView> inputs, bool center) {
  const auto there = [&](size_t i) { return i < inputs.size() && inputs[i].bytes != nullptr; };
  return {.boxes = inputs[0].As<float>(),
          .scores = inputs[1].As<float>(),
          .batches = inputs[1].shape[0],
          .classes = inputs[1].shape[1],
          .count = inputs[1].shape[2],
          .most = there(2) ? inputs[2].As<int64_t>()[0] : 0,
          .overlap = there(3) ? inputs[3].As<float>()[0] : 0,
          .score = there(4) ? inputs[4].As<float>()[0] : -std::numeric_limits<float>::infinity(),
          .center = center};
}

// The chosen boxes of one class, the highest score first.
void Choose(const Query& query, int64_t batch, int64_t of_class, std::vector<Choice>& choices) {
  const float* scores = query.scores.data() + (batch * query.classes + of_class) * query.count;
  std::vector<int64_t> order;
  for (int64_t i = 0; i < query.count; ++i)
    if (scores[i] > query.score) order.push_back(i);
  std::ranges::stable_sort(order, [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  std::vector<Box> chosen;
  for (const int64_t i : order) {
    if (static_cast<int64_t>(chosen.size()) >= query.most) return;
    const Box box = BoxOf(query.boxes.data() + (batch * query.count + i) * 4, query.center);
    if (std::ranges::any_of(chosen, [&](const Box& other) { return Overlap(box, other, query.overlap); }))
      continue;
    chosen.push_back(box);
    choices.push_back({batch, of_class, i});
  }
}

std::vector<Choice> ChooseAll(const Query& query) {
  std::vector<Choice> choices;
  for (int64_t batch = 0; batch < query.batches; ++batch)
    for (int64_t of_class = 0; of_class < query.classes; ++of_class) Choose(query, batch, of_class, choices);
  return choices;
}

// The most boxes of a class, where that is a constant below the number of boxes.
Dim MostOfClass(const Node& node) {
  const Dim count = (*node.inputs[1]->dims)[2];
  const Value* most = node.input(2);
  if (most == nullptr) return 0;
  if (!most->is_constant() || most->constant->count() != 1) return count;
  const int64_t given = std::max<int64_t>(0, most->constant->As<int64_t>()[0]);
  return count.constant() && *count.constant() < given ? count : Dim(given);
}

absl::StatusOr<bool> IsCenter(const Node& node) {
  ASSIGN_OR_RETURN(const int64_t center, node.Int("center_point_box", 0));
  return center != 0;
}

absl::Status CheckParameter(const Node& node, size_t i, DType dtype) {
  if (node.input(i) == nullptr) return absl::OkStatus();
  RETURN_IF_ERROR(CheckInputType(node, i, {dtype}));
  if (CountOf(*node.inputs[i]->dims) == Dim(1)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("'", node.inputs[i]->name, "' has shape ",
                                                 ShapeText(*node.inputs[i]->dims), ", expected one element"));
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 2, 5));
  for (size_t i = 0; i < 2; ++i) {
    RETURN_IF_ERROR(CheckInputType(node, i, {DType::kF32}));
    RETURN_IF_ERROR(CheckRank(node, i, 3, 3));
  }
  RETURN_IF_ERROR(CheckParameter(node, 2, DType::kS64));
  for (const size_t i : {3, 4}) RETURN_IF_ERROR(CheckParameter(node, i, DType::kF32));
  const SymbolicShape &boxes = *node.inputs[0]->dims, &scores = *node.inputs[1]->dims;
  if (!MayBeEqual(boxes[0], scores[0]) || !MayBeEqual(boxes[1], scores[2]) || boxes[2] != Dim(4))
    return absl::InvalidArgumentError(
        absl::StrCat("boxes are ", ShapeText(boxes), " and scores ", ShapeText(scores),
                     ", expected [batches,boxes,4] and [batches,classes,boxes]"));
  ASSIGN_OR_RETURN(const bool center, IsCenter(node));
  ASSIGN_OR_RETURN(
      const Dim count,
      MeasuredDim(node, scores[0] * scores[1] * MostOfClass(node), [&](std::span<const TensorView> inputs) {
        return static_cast<int64_t>(ChooseAll(QueryOf(inputs, center)).size());
      }));
  RETURN_IF_ERROR(InferCount(node, 1, 1));
  node.outputs[0]->dtype = DType::kS64;
  node.outputs[0]->dims = SymbolicShape{count, 3};
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const bool center, IsCenter(node));
  const std::vector<Choice> choices = ChooseAll(QueryOf(inputs, center));
  auto* out = outputs[0].As<int64_t>().data();
  for (const Choice& choice : choices)
    for (const int64_t number : {choice.batch, choice.of_class, choice.box}) *out++ = number;
  StoreCount(node, static_cast<int64_t>(choices.size()), outputs);
  return absl::OkStatus();
}

std::optional<size_t> MeasuredAxis(const Node& /*node*/, size_t output) {
  return output == 0 ? std::optional<size_t>(0) : std::nullopt;
}

}  // namespace

std::span<const OpDef> non_max_suppression_ops() {
  static const OpDef defs[] = {{.name = "NonMaxSuppression",
                                .infer = Infer,
                                .rows = RowsMixed,
                                .measured_axis = MeasuredAxis,
                                .reference = Reference}};
  return defs;
}

}  // namespace hachi
