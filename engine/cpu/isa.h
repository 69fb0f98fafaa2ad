#pragma once

#include <string>
#include <string_view>

namespace hachi {

// The ladder of instruction sets that plans are made for, slowest first.
enum class Isa { kAvx2, kAvx2Vnni, kAvx512, kAvx512Vnni, kAmx };

// What a processor and its operating system offer, as far as the ladder asks.
struct CpuFeatures {
  bool avx2 = false;
  bool avx2_vnni = false;
  bool avx512 = false;  // F, BW, DQ and VL
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx_int8 = false;  // tiles of bytes, and the system lets this process use them
};

// Of this machine, whatever the override says.
CpuFeatures DetectFeatures();

// `features` without those above `max_isa`, a value of ONEDNN_MAX_CPU_ISA: SSE41, AVX, AVX2, AVX2_VNNI,
// AVX512_CORE, AVX512_CORE_VNNI, AVX512_CORE_BF16, AVX512_CORE_AMX or ALL in any case. Other words change
// nothing, as in oneDNN.
CpuFeatures Limit(CpuFeatures features, std::string_view max_isa);

// The highest rung; kAvx2 where there is none, since it asks nothing of a plan that a lesser CPU lacks:
// kernels dispatch by themselves, only slower.
Isa RungOf(const CpuFeatures& features);

// The rung of this process and whether it may use BF16 kernels: detected once, lowered by the environment
// variable ONEDNN_MAX_CPU_ISA (or, where that is not set, DNNL_MAX_CPU_ISA) just as oneDNN lowers itself.
//
// Thread-safe.
Isa DetectIsa();
bool HasBf16();

// Whether products of u8 and s8 are summed in 32 bits; elsewhere pairs are summed in 16 bits, and saturate.
bool HasVnni(Isa isa);

// oneDNN's spelling: "avx2", "avx2_vnni", "avx512_core", "avx512_core_vnni", "avx512_core_amx".
std::string_view NameOf(Isa isa);

// The CPU as text, a line a fact: model, CPUs and budget, instruction sets, rung and override.
std::string CpuText();

}  // namespace hachi
