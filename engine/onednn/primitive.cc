#include "engine/onednn/primitive.h"

#include <algorithm>
#include <iterator>

#include "engine/onednn/internal.h"

namespace hachi {

const dnnl::engine& CpuEngine() {
  // Never destroyed: primitives may outlive static destruction.
  static const dnnl::engine* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

struct Stream::Impl {
  dnnl::stream stream{CpuEngine()};
};

Stream::Stream() : impl_(std::make_unique<Impl>()) {}
Stream::~Stream() = default;

struct BoundPrimitive::Impl {
  dnnl::primitive primitive;
  std::unordered_map<int, dnnl::memory> arguments;
};

BoundPrimitive::BoundPrimitive(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BoundPrimitive::~BoundPrimitive() = default;

absl::Status BoundPrimitive::Execute(Stream& stream) {
  return CatchDnnl("execute", [&] {
    impl_->primitive.execute(stream.impl().stream, impl_->arguments);
    return absl::OkStatus();
  });
}

Primitive::Primitive(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Primitive::~Primitive() = default;

const KernelFacts& Primitive::kernel() const { return impl_->kernel; }
size_t Primitive::scratch_bytes() const { return impl_->scratch.get_size(); }

std::unique_ptr<BoundPrimitive> Primitive::Bind(const Buffers& buffers) const {
  auto bound = std::make_unique<BoundPrimitive::Impl>();
  bound->primitive = impl_->primitive;
  bound->arguments = impl_->fixed;
  const auto bind = [&](int argument, const dnnl::memory::desc& desc, const std::byte* address) {
    if (desc.get_size() == 0) return;
    bound->arguments.emplace(argument, dnnl::memory(desc, CpuEngine(), const_cast<std::byte*>(address)));
  };
  bind(DNNL_ARG_SRC, impl_->src, buffers.src);
  bind(impl_->src1_argument, impl_->src1, buffers.src1);
  bind(DNNL_ARG_DST, impl_->dst, buffers.dst);
  bind(DNNL_ARG_SCRATCHPAD, impl_->scratch, buffers.scratch);
  return std::make_unique<BoundPrimitive>(std::move(bound));
}

KernelFacts FactsOf(std::string_view name) {
  // Names tell what a kernel uses, but for a few ("gemm:jit") that use what the library may.
  struct Row {
    std::string_view word;
    Isa isa;
  };
  static constexpr Row kRows[] = {
      {"amx", Isa::kAmx},
      {"avx512_core_bf16", Isa::kAvx512Vnni},
      {"avx512_core_vnni", Isa::kAvx512Vnni},
      {"avx512", Isa::kAvx512},
      {"avx2_vnni", Isa::kAvx2Vnni},
      {"avx", Isa::kAvx2},
      {"sse41", Isa::kAvx2},
  };
  const auto has = [&](std::string_view word) { return name.find(word) != std::string_view::npos; };
  const auto row = std::ranges::find_if(kRows, [&](const Row& r) { return has(r.word); });
  const Isa isa = row == std::end(kRows) ? DetectIsa() : row->isa;
  return {.name = std::string(name), .isa = isa, .vnni = HasVnni(isa), .reference = has("ref")};
}

absl::StatusOr<dnnl::memory::data_type> ToDnnl(DType dtype) {
  using Type = dnnl::memory::data_type;
  switch (dtype) {
    case DType::kF32:
      return Type::f32;
    case DType::kBF16:
      return Type::bf16;
    case DType::kU8:
      return Type::u8;
    case DType::kS8:
      return Type::s8;
    case DType::kS32:
      return Type::s32;
    default:
      break;
  }
  return absl::UnimplementedError(absl::StrCat("element type ", std::string(NameOf(dtype)),
                                               " has no kernel, expected f32, bf16, u8, s8 or s32"));
}

absl::StatusOr<dnnl::memory::desc> ToDnnl(const TensorSpec& spec) {
  // The library divides by the dimensions of some.
  if (spec.count() == 0)
    return absl::UnimplementedError(
        absl::StrCat("a tensor of shape ", ShapeText(spec.shape), " is empty, expected elements"));
  absl::StatusOr<dnnl::memory::data_type> type = ToDnnl(spec.dtype);
  if (!type.ok()) return type.status();
  return CatchDnnl("memory descriptor", [&]() -> absl::StatusOr<dnnl::memory::desc> {
    return dnnl::memory::desc(dnnl::memory::dims(spec.shape.begin(), spec.shape.end()), *type,
                              dnnl::memory::dims(spec.layout.StridesOf(spec.shape)));
  });
}

dnnl::memory FixedMemory(Primitive::Impl& impl, const dnnl::memory::desc& desc,
                         const std::vector<float>& values) {
  auto copy = std::make_shared<const std::vector<float>>(values);
  dnnl::memory memory(desc, CpuEngine(), const_cast<float*>(copy->data()));
  impl.keep_alive.push_back(std::move(copy));
  return memory;
}

}  // namespace hachi
