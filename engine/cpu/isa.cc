#include "engine/cpu/isa.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "engine/cpu/budget.h"

// Our Clang, which builds the fuzz targets, has no names for some features: it does without them.
#ifdef __clang__
#define HACHI_SUPPORTS_IF_NAMED(feature) false
#else
#define HACHI_SUPPORTS_IF_NAMED(feature) __builtin_cpu_supports(feature)
#endif

namespace hachi {
namespace {

// Linux hands out the tile registers only on request; the request is granted once and stays.
bool RequestTiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

std::string_view MaxIsaOfEnvironment() {
  for (const char* name : {"ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"})
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
  return "";
}

const CpuFeatures& Features() {
  static const CpuFeatures features = Limit(DetectFeatures(), MaxIsaOfEnvironment());
  return features;
}

std::string ModelName() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name"))
      if (const size_t colon = line.find(": "); colon != std::string::npos) return line.substr(colon + 2);
  return "unknown";
}

}  // namespace

CpuFeatures DetectFeatures() {
  CpuFeatures features;
  features.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  features.avx2_vnni = features.avx2 && HACHI_SUPPORTS_IF_NAMED("avxvnni");
  features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
  features.avx512_vnni = features.avx512 && __builtin_cpu_supports("avx512vnni");
  features.avx512_bf16 = features.avx512_vnni && __builtin_cpu_supports("avx512bf16");
  features.amx_int8 = features.avx512_bf16 && HACHI_SUPPORTS_IF_NAMED("amx-tile") &&
                      HACHI_SUPPORTS_IF_NAMED("amx-int8") && RequestTiles();
  return features;
}

CpuFeatures Limit(CpuFeatures features, std::string_view max_isa) {
  std::string word(max_isa);
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::toupper(c); });
  struct Row {
    std::string_view word;
    CpuFeatures allowed;
  };
  // AVX-512 rungs leave AVX-VNNI out, as oneDNN's do.
  static constexpr Row kRows[] = {
      {"SSE41", {}},
      {"AVX", {}},
      {"AVX2", {.avx2 = true}},
      {"AVX2_VNNI", {.avx2 = true, .avx2_vnni = true}},
      {"AVX512_CORE", {.avx2 = true, .avx512 = true}},
      {"AVX512_CORE_VNNI", {.avx2 = true, .avx512 = true, .avx512_vnni = true}},
      {"AVX512_CORE_BF16", {.avx2 = true, .avx512 = true, .avx512_vnni = true, .avx512_bf16 = true}},
  };
  for (const Row& row : kRows)
    if (row.word == word)
      return {.avx2 = features.avx2 && row.allowed.avx2,
              .avx2_vnni = features.avx2_vnni && row.allowed.avx2_vnni,
              .avx512 = features.avx512 && row.allowed.avx512,
              .avx512_vnni = features.avx512_vnni && row.allowed.avx512_vnni,
              .avx512_bf16 = features.avx512_bf16 && row.allowed.avx512_bf16,
              .amx_int8 = false};
  return features;
}

Isa RungOf(const CpuFeatures& features) {
  if (features.amx_int8) return Isa::kAmx;
  if (features.avx512_vnni) return Isa::kAvx512Vnni;
  if (features.avx512) return Isa::kAvx512;
  if (features.avx2_vnni) return Isa::kAvx2Vnni;
  return Isa::kAvx2;
}

Isa DetectIsa() {
  static const Isa isa = RungOf(Features());
  return isa;
}

bool HasBf16() { return Features().avx512_bf16; }

bool HasVnni(Isa isa) { return isa == Isa::kAvx2Vnni || isa >= Isa::kAvx512Vnni; }

std::string_view NameOf(Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx2Vnni:
      return "avx2_vnni";
    case Isa::kAvx512:
      return "avx512_core";
    case Isa::kAvx512Vnni:
      return "avx512_core_vnni";
    case Isa::kAmx:
      return "avx512_core_amx";
  }
  return "";
}

std::string CpuText() {
  const CpuFeatures cpu = DetectFeatures();
  const std::string isa(NameOf(DetectIsa()));
  const std::string override(MaxIsaOfEnvironment());
  std::string flags;
  const auto add = [&](bool has, std::string_view name) {
    if (has) flags.append(flags.empty() ? "" : " ").append(name);
  };
  add(cpu.avx2, "avx2");
  add(cpu.avx2_vnni, "avx_vnni");
  add(cpu.avx512, "avx512");
  add(cpu.avx512_vnni, "avx512_vnni");
  add(cpu.avx512_bf16, "avx512_bf16");
  add(cpu.amx_int8, "amx_int8");
  std::string text =
      absl::StrCat("model: ", ModelName(), "\n", "cpus: ", std::thread::hardware_concurrency(), " online, ",
                   AllowedCpus().size(), " allowed\n", "budget: ", CpuBudget(), "\n",
                   "instruction sets: ", flags.empty() ? "none of the ladder" : flags, "\n", "isa: ", isa);
  if (!override.empty()) absl::StrAppend(&text, " (limited by ONEDNN_MAX_CPU_ISA=", override, ")");
  absl::StrAppend(&text, "\nbf16: ", HasBf16() ? "yes" : "no", "\n");
  return text;
}

}  // namespace hachi
