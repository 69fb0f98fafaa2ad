#include "engine/kernels/avgpool.h"

#include "engine/kernels/reference.h"
#include "tests/kernels/kernel_test_util.h"

namespace hachi {
namespace {

TEST(AvgPoolTest, AgreesWithTheReferenceExactly) {
  OnEveryTarget([] {
    for (const auto& [pixels, channels] : std::vector<std::pair<int64_t, int64_t>>{
             {1, 1}, {1, 16}, {4, 3}, {49, 15}, {49, 17}, {49, 257}, {49, 2048}})
      for (const int64_t rows : {1, 5})
        for (const DType from : {DType::kU8, DType::kS8})
          for (const DType to : {DType::kU8, DType::kS8, DType::kF32}) {
            const AvgPoolSpec spec = {
                .pixels = pixels,
                .channels = channels,
                .from = from,
                .to = to,
                .from_quant = QuantParams::PerTensor(0.037f, from == DType::kU8 ? 11 : -11),
                .to_quant = QuantParams::PerTensor(0.009f, to == DType::kU8 ? 100 : -30)};
            const auto in = RandomBytes(static_cast<size_t>(rows * pixels * channels));
            std::vector<std::byte> out(static_cast<size_t>(rows * channels) * SizeOf(to)),
                expected(out.size());
            GlobalAveragePool(spec, rows, in.data(), out.data());
            reference::GlobalAveragePool(spec, rows, in.data(), expected.data());
            ExpectSame(out, expected);
          }
  });
}

TEST(AvgPoolTest, LargestImageDoesNotOverflow) {
  const AvgPoolSpec spec = {.pixels = int64_t{1} << 23, .to = DType::kF32};
  const std::vector<std::byte> in(static_cast<size_t>(spec.pixels), std::byte{255});
  float mean = 0;
  GlobalAveragePool(spec, 1, in.data(), reinterpret_cast<std::byte*>(&mean));
  EXPECT_EQ(mean, 255.0f);
}

TEST(AvgPoolTest, NoRowsIsFine) { GlobalAveragePool({.pixels = 4, .channels = 4}, 0, nullptr, nullptr); }

}  // namespace
}  // namespace hachi
