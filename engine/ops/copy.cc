#include "engine/ops/copy.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/kernels/permute.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

class PermuteStep final : public KernelStep {
 public:
  explicit PermuteStep(Permute permute) : permute_(std::move(permute)) {}

  bool Reads(size_t input) const override { return input == 0; }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    permute_.Run(buffers.inputs[0], buffers.outputs[0]);
    return absl::OkStatus();
  }

 private:
  const Permute permute_;
};

class ViewStep final : public KernelStep {
 public:
  ViewStep() : KernelStep({.in_place_input = 0, .view = true}) {}

  bool Reads(size_t input) const override { return input == 0; }

 protected:
  absl::Status Run(const StepBuffers& /*buffers*/) const override { return absl::OkStatus(); }
};

class BoxStep final : public KernelStep {
 public:
  explicit BoxStep(std::vector<BoxCopy> copies) : copies_(std::move(copies)) {}

  bool Reads(size_t input) const override {
    return std::ranges::any_of(copies_, [&](const BoxCopy& box) { return box.input == input; });
  }

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    for (const BoxCopy& box : copies_) box.copy.Run(buffers.inputs[box.input], buffers.outputs[box.output]);
    return absl::OkStatus();
  }

 private:
  const std::vector<BoxCopy> copies_;
};

}  // namespace

absl::Status ReferenceCopy(const Node& /*node*/, std::span<const TensorView> inputs,
                           std::span<Tensor> outputs) {
  if (const size_t bytes = outputs[0].bytes().size(); bytes > 0)
    std::memcpy(outputs[0].bytes().data(), inputs[0].bytes, bytes);
  return absl::OkStatus();
}

void CopyStrided(const TensorView& in, int64_t begin, std::span<const int64_t> strides, Tensor& out) {
  const auto bytes = static_cast<int64_t>(SizeOf(in.dtype));
  for (int64_t i = 0; i < out.count(); ++i) {
    int64_t from = begin, rest = i;
    for (size_t axis = strides.size(); axis-- > 0; rest /= out.shape()[axis])
      from += rest % out.shape()[axis] * strides[axis];
    std::memcpy(out.bytes().data() + i * bytes, in.bytes + from * bytes, static_cast<size_t>(bytes));
  }
}

absl::StatusOr<StepMaker> TakePermute(const TensorSpec& src, const TensorSpec& dst) {
  if (src.dtype != dst.dtype || src.quant != dst.quant)
    return absl::UnimplementedError("a copy that changes the type has no kernel, expected one type");
  ASSIGN_OR_RETURN(Permute permute, Permute::Create(src.shape, src.layout, dst.layout, SizeOf(src.dtype)));
  return [permute = std::move(permute)] { return std::make_unique<PermuteStep>(permute); };
}

StepMaker TakeBoxes(std::vector<BoxCopy> copies) {
  return [copies = std::move(copies)] { return std::make_unique<BoxStep>(copies); };
}

namespace {

// Input and output as one shape in two layouts.
struct Copied {
  TensorSpec src, dst;

  static absl::StatusOr<Copied> Of(const LowerContext& context) {
    Copied copied{context.Input(0), context.Output()};
    if (context.node.outputs.size() != 1)
      return absl::UnimplementedError("a second output has no kernel, expected one output");
    if (copied.src.shape != copied.dst.shape) {
      if (!copied.dst.layout.SameBytes(Layout(), copied.dst.shape))
        return absl::UnimplementedError("result in a layout of its own has no kernel, expected row-major");
      copied.dst = {copied.dst.dtype, copied.src.shape, Layout(), copied.dst.quant};
    }
    return copied;
  }
};

absl::StatusOr<StepMaker> TakeView(const LowerContext& context) {
  ASSIGN_OR_RETURN(const Copied copied, Copied::Of(context));
  RETURN_IF_ERROR(CheckOneLayout(copied.src, copied.dst));
  return [] { return std::make_unique<ViewStep>(); };
}

}  // namespace

std::vector<Offer> CopyOffers() {
  const auto take_permute = [](const LowerContext& context) -> absl::StatusOr<StepMaker> {
    ASSIGN_OR_RETURN(const Copied copied, Copied::Of(context));
    return TakePermute(copied.src, copied.dst);
  };
  return {{.name = "view", .take = TakeView}, {.name = "hachi_permute", .take = take_permute}};
}

}  // namespace hachi
