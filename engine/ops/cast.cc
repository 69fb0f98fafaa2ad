// Cast (ONNX opset 13) and CastLike, which takes the type of its second input. Real numbers of 16 bits are
// read and written through float.
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/team.h"
#include "engine/kernels/bf16.h"
#include "engine/ops/function_step.h"
#include "engine/ops/infer.h"
#include "engine/ops/op.h"
#include "engine/ops/quantized.h"
#include "engine/ops/take.h"
#include "engine/tensor/half.h"

namespace hachi {
namespace {

// ONNX's number of an element type.
absl::StatusOr<DType> TypeOf(const Node& node) {
  if (node.op == "CastLike") return node.inputs[1]->dtype;
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
    case 10:
      return DType::kF16;
    case 11:
      return DType::kF64;
    case 12:
      return DType::kU32;
    case 13:
      return DType::kU64;
    case 16:
      return DType::kBF16;
    default:
      return absl::UnimplementedError(
          absl::StrCat("attribute 'to' is ONNX type ", to,
                       ", expected a real number of 2, 4 or 8 bytes, an integer or bool"));
  }
}

absl::Status Infer(Node& node) {
  const size_t arity = node.op == "CastLike" ? 2 : 1;
  RETURN_IF_ERROR(CheckInputCount(node, arity, arity));
  const Value& input = *node.inputs[0];
  if (input.quant)
    return absl::UnimplementedError(
        absl::StrCat("casts ", std::string(NameOf(input.dtype)), " with a scale, expected none"));
  ASSIGN_OR_RETURN(const DType to, TypeOf(node));
  RETURN_IF_ERROR(SetOutput(node, to, *input.dims));
  const bool keeps_integers = to == DType::kS64 || to == DType::kS32 || to == DType::kF32;
  node.outputs[0]->content = keeps_integers ? ContentOf(input) : std::nullopt;
  return absl::OkStatus();
}

// Numbers that are stored in 16 bits, as what they stand for.
struct F16 {
  uint16_t bits;
  static F16 Of(float x) { return {F16OfFloat(x)}; }
  float value() const { return FloatOfF16(bits); }
};
struct Bf16 {
  uint16_t bits;
  static Bf16 Of(float x) { return {Bf16OfFloat(x)}; }
  float value() const { return FloatOfBf16(bits); }
};

// VisitDType with a C++ type for every dtype.
template <typename Fn>
void VisitStored(DType dtype, const Fn& fn) {
  if (dtype == DType::kF16) return fn(F16{});
  if (dtype == DType::kBF16) return fn(Bf16{});
  VisitDType(dtype, fn);
}

template <typename To, typename From>
To ConvertStored(From x) {
  if constexpr (requires { x.value(); }) {
    return ConvertStored<To>(x.value());
  } else if constexpr (requires { To::Of(0.0f); }) {
    return To::Of(ConvertTo<float>(x));
  } else {
    return ConvertTo<To>(x);
  }
}

absl::Status Reference(const Node& /*node*/, std::span<const TensorView> inputs, std::span<Tensor> outputs) {
  VisitStored(inputs[0].dtype, [&](auto from) {
    VisitStored(outputs[0].dtype(), [&](auto to) {
      const auto* in = reinterpret_cast<const decltype(from)*>(inputs[0].bytes);
      auto* out = reinterpret_cast<decltype(to)*>(outputs[0].bytes().data());
      for (int64_t i = 0; i < inputs[0].count(); ++i) out[i] = ConvertStored<decltype(to)>(in[i]);
    });
  });
  return absl::OkStatus();
}

class CastStep final : public KernelStep {
 public:
  CastStep(int64_t count, DType from, DType to) : count_(count), from_(from), to_(to) {}

 protected:
  absl::Status Run(const StepBuffers& buffers) const override {
    VisitStored(from_, [&](auto from) {
      VisitStored(to_, [&](auto to) {
        const auto* in = reinterpret_cast<const decltype(from)*>(buffers.inputs[0]);
        auto* out = reinterpret_cast<decltype(to)*>(buffers.outputs[0]);
        ParallelFor(count_, kGrain, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) out[i] = ConvertStored<decltype(to)>(in[i]);
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

absl::StatusOr<StepMaker> TakeBf16(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  const bool narrows = src.dtype == DType::kF32 && dst.dtype == DType::kBF16;
  if (!narrows && (src.dtype != DType::kBF16 || dst.dtype != DType::kF32))
    return absl::UnimplementedError("not between f32 and bf16, expected that");
  return MakeStep([narrows, count = static_cast<size_t>(src.count())](const StepBuffers& buffers) {
    const std::byte* in = buffers.inputs[0];
    std::byte* out = buffers.outputs[0];
    if (narrows)
      ToBf16({reinterpret_cast<const float*>(in), count}, {reinterpret_cast<uint16_t*>(out), count});
    else
      FromBf16({reinterpret_cast<const uint16_t*>(in), count}, {reinterpret_cast<float*>(out), count});
  });
}

absl::StatusOr<StepMaker> Take(const LowerContext& context) {
  const TensorSpec src = context.Input(0), dst = context.Output();
  RETURN_IF_ERROR(CheckOneLayout(src, dst));
  return [count = src.count(), from = src.dtype, to = dst.dtype] {
    return std::make_unique<CastStep>(count, from, to);
  };
}

}  // namespace

std::span<const OpDef> cast_ops() {
  static const auto member = [](std::string_view name) {
    return OpDef{.name = name,
                 .infer = Infer,
                 .rows = [](const RowQuery& query) -> absl::StatusOr<RowAxis> { return query.inputs[0]; },
                 .passes_integers = true,
                 .reference = Reference,
                 .offers = {{.name = "hachi_bf16", .take = TakeBf16}, {.name = "hachi_cast", .take = Take}},
                 .layout_agnostic = true};
  };
  static const OpDef defs[] = {member("Cast"), member("CastLike")};
  return defs;
}

}  // namespace hachi
