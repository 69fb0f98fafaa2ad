// Cast (ONNX opset 13) between the types that have a C++ type here.
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/take.h"

namespace hachi {
namespace {

// ONNX's number of an element type.
absl::StatusOr<DType> TypeOf(const Node& node) {
  ASSIGN_OR_RETURN(const int64_t to, node.Int("to", 0));
  switch (to) {
    case 1:
      return DType::kF32;
    case 2:
      return DType::kU8;
    case 3:
      return DType::kS8;
    case 4:
      return DType::kU16;
    case 5:
      return DType::kS16;
    case 6:
      return DType::kS32;
    case 7:
      return DType::kS64;
    case 9:
      return DType::kBool;
    case 11:
      return DType::kF64;
    case 12:
      return DType::kU32;
    case 13:
      return DType::kU64;
    default:
      return absl::UnimplementedError(
          absl::StrCat("attribute 'to' is ONNX type ", to,
                       ", expected a real number of 4 or 8 bytes, an integer or bool"));
  }
}

absl::Status Infer(Node& node) {
  RETURN_IF_ERROR(CheckInputCount(node, 1, 1));
  const Value& input = *node.inputs[0];
  if (input.dtype == DType::kF16 || input.dtype == DType::kBF16 || input.quant)
    return absl::UnimplementedError(absl::StrCat("casts ", std::string(NameOf(input.dtype)),
                                                 input.quant ? " with a scale" : "",
                                                 ", expected f32, f64, an integer or bool"));
  ASSIGN_OR_RETURN(const DType to, TypeOf(node));
  RETURN_IF_ERROR(SetOutput(node, to, *input.dims));
  const bool keeps_integers = to == DType::kS64 || to == DType::kS32;
  node.outputs[0]->content = keeps_integers ? ContentOf(input) : std::nullopt;
  return absl::OkStatus();
}

// Towards zero; what does not fit saturates, NaN is 0.
template <typename To, typename From>
To Convert(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From{};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    if (std::isnan(x)) return 0;
    if (x <= static_cast<From>(std::numeric_limits<To>::lowest())) return std::numeric_limits<To>::lowest();
    if (x >= static_cast<From>(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
    return static_cast<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

absl::Status Reference(const Node& /*node*/, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  VisitDType(inputs[0].dtype, [&](auto from) {
    VisitDType(outputs[0].dtype(), [&](auto to) {
      for (int64_t i = 0; i < inputs[0].count(); ++i)
        outputs[0].As<decltype(to)>()[i] = Convert<decltype(to)>(inputs[0].As<decltype(from)>()[i]);
    });
  });
  return absl::OkStatus();
}

class CastStep final : public KernelStep {
 public:
  CastStep(int64_t count, DType from, DType to) : count_(count), from_(from), to_(to) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    VisitDType(from_, [&](auto from) {
      VisitDType(to_, [&](auto to) {
        const auto* in = reinterpret_cast<const decltype(from)*>(buffers.inputs[0]);
        auto* out = reinterpret_cast<decltype(to)*>(buffers.outputs[0]);
        ParallelFor(count_, kGrain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) out[i] = Convert<decltype(to)>(in[i]);
        });
      });
    });
    return absl::OkStatus();
  }

 private:
  static constexpr int64_t kGrain = 16384;  // elements worth waking the team for: some µs

  const int64_t count_;
  const DType from_, to_;
};

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  return [count = src.count(), from = src.dtype, to = dst.dtype] {
    return std::make_unique<CastStep>(count, from, to);
  };
}

}  // namespace

std::span<const OpDef> cast_ops() {
  static const OpDef defs[] = {{.name = "Cast",
                                .infer = Infer,
                                .rows = RowsOfElements,
                                .passes_integers = true,
                                .reference = Reference,
                                .offers = {{.name = "hachi_cast", .take = Take}},
                                .layout_agnostic = true}};
  return defs;
}

}  // namespace hachi
