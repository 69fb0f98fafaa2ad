// ConstantOfShape (ONNX opset 20).
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"

namespace hachi {
namespace {

constexpr int64_t kMostContent = 64;  // elements; content is for shapes, which have few axes

absl::StatusOr<std::shared_ptr<const Tensor>> ValueOf(const Node& node) {
  const auto attr = node.attrs.find("value");
  if (attr == node.attrs.end()) return std::make_shared<const Tensor>(Tensor::Of<float>({1}, {0.0f}));
  const auto* tensor = std::get_if<std::shared_ptr<const Tensor>>(&attr->second);
  if (tensor == nullptr || (*tensor)->count() != 1)
    return absl::InvalidArgumentError("attribute 'value' is no tensor of one element, expected one");
  return *tensor;
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  RETURN_IF_ERROR(CheckInputType(node, 0, {DType::kS64}));
  const auto shape = ContentOf(*node.inputs[0]);
  if (!shape)
    return absl::UnimplementedError(
        absl::StrCat("the shape '", node.inputs[0]->name,
                     "' is computed from more than dimensions, expected one that is known"));
  for (const Dim& dim : *shape)
    if (const auto number = dim.constant(); number && *number < 0)
      return absl::InvalidArgumentError(
          absl::StrCat("the shape is ", ShapeText(*shape), ", expected no negative dimension"));
  ASSIGN_OR_RETURN(const auto value, ValueOf(node));
  RETURN_IF_ERROR(SetOutput(node, value->dtype(), *shape));
  const auto count = CountOf(*shape).constant();
  node.outputs[0]->content.reset();
  if (value->dtype() == DType::kS64 && shape->size() <= 1 && count && *count <= kMostContent)
    node.outputs[0]->content.emplace(static_cast<size_t>(*count), Dim(IntegerAt(value->view(), 0)));
  return absl::OkStatus();
}

absl::Status Reference(const Node& node, std::span<const TensorView> /*inputs*/, std::span<Tensor> outputs) {
  ASSIGN_OR_RETURN(const auto value, ValueOf(node));
  const size_t bytes = SizeOf(value->dtype());
  for (int64_t i = 0; i < outputs[0].count(); ++i)
    std::memcpy(outputs[0].bytes().data() + static_cast<size_t>(i) * bytes, value->bytes().data(), bytes);
  return absl::OkStatus();
}

class FillStep final : public KernelStep {
 public:
  FillStep(std::shared_ptr<const Tensor> value, int64_t count) : value_(std::move(value)), count_(count) {}

  bool Reads(size_t /*input*/) const override { return false; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    const size_t bytes = SizeOf(value_->dtype());
    for (int64_t i = 0; i < count_; ++i)
      std::memcpy(buffers.outputs[0] + static_cast<size_t>(i) * bytes, value_->bytes().data(), bytes);
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<const Tensor> value_;
  const int64_t count_;
};

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  ASSIGN_OR_RETURN(const auto value, ValueOf(context.node));
  return [value, count = context.Output().count()] { return std::make_unique<FillStep>(value, count); };
}

}  // namespace

std::span<const OpDef> constant_of_shape_ops() {
  static const OpDef defs[] = {{.name = "ConstantOfShape",
                                .infer = Infer,
                                .rows = RowsOfRepeated,
                                .shape_input = 0,
                                .reference = Reference,
                                .offers = {{.name = "hachi_fill", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
