#include "engine/cpu/isa.h"

#include <gmock/gmock.h>

#include <cstdlib>

namespace hachi {
namespace {

constexpr CpuFeatures kCascadeLake = {.avx2 = true, .avx512 = true, .avx512_vnni = true};
constexpr CpuFeatures kAlderLake = {.avx2 = true, .avx2_vnni = true};
constexpr CpuFeatures kSapphireRapids = {.avx2 = true,
                                         .avx2_vnni = true,
                                         .avx512 = true,
                                         .avx512_vnni = true,
                                         .avx512_bf16 = true,
                                         .amx_int8 = true};

TEST(IsaTest, HighestRungOfTheCpuIsChosen) {
  EXPECT_EQ(RungOf(kSapphireRapids), Isa::kAmx);
  EXPECT_EQ(RungOf(kCascadeLake), Isa::kAvx512Vnni);
  EXPECT_EQ(RungOf(kAlderLake), Isa::kAvx2Vnni);
  EXPECT_EQ(RungOf({}), Isa::kAvx2);
}

TEST(IsaTest, OverrideLowersTheRungAsOneDnnReadsIt) {
  EXPECT_EQ(RungOf(Limit(kSapphireRapids, "AVX512_CORE_BF16")), Isa::kAvx512Vnni);
  EXPECT_EQ(RungOf(Limit(kSapphireRapids, "AVX512_CORE_VNNI")), Isa::kAvx512Vnni);
  EXPECT_EQ(RungOf(Limit(kSapphireRapids, "AVX512_CORE")), Isa::kAvx512);
  EXPECT_EQ(RungOf(Limit(kSapphireRapids, "avx2_vnni")), Isa::kAvx2Vnni);
  EXPECT_EQ(RungOf(Limit(kCascadeLake, "AVX2_VNNI")), Isa::kAvx2);
  EXPECT_EQ(RungOf(Limit(kSapphireRapids, "AVX2")), Isa::kAvx2);
  EXPECT_EQ(RungOf(Limit(kSapphireRapids, "SSE41")), Isa::kAvx2);
  EXPECT_FALSE(Limit(kSapphireRapids, "AVX512_CORE_VNNI").avx512_bf16);
  EXPECT_TRUE(Limit(kSapphireRapids, "AVX512_CORE_BF16").avx512_bf16);
}

TEST(IsaTest, OverrideNeverRaisesAndUnknownWordsChangeNothing) {
  EXPECT_EQ(RungOf(Limit(kAlderLake, "AVX512_CORE_AMX")), Isa::kAvx2Vnni);
  for (const char* word : {"", "ALL", "AVX512_CORE_AMX", "AVX1024", " AVX2"})
    EXPECT_EQ(RungOf(Limit(kSapphireRapids, word)), Isa::kAmx) << word;
}

TEST(IsaTest, ThisProcessRunsOnTheRungThatTheEnvironmentAllows) {
  const char* word = std::getenv("ONEDNN_MAX_CPU_ISA");
  EXPECT_EQ(DetectIsa(), RungOf(Limit(DetectFeatures(), word == nullptr ? "" : word)));
}

TEST(IsaTest, VnniRungsAreThoseThatSumIn32Bits) {
  EXPECT_TRUE(HasVnni(Isa::kAvx2Vnni) && HasVnni(Isa::kAvx512Vnni) && HasVnni(Isa::kAmx));
  EXPECT_FALSE(HasVnni(Isa::kAvx2) || HasVnni(Isa::kAvx512));
}

TEST(IsaTest, CpuTextNamesRungAndBudget) {
  EXPECT_THAT(CpuText(), testing::HasSubstr("\nisa: " + std::string(NameOf(DetectIsa()))));
  EXPECT_THAT(CpuText(), testing::ContainsRegex("\nbudget: [1-9]"));
  EXPECT_THAT(CpuText(), testing::ContainsRegex("^model: ."));
}

}  // namespace
}  // namespace hachi
