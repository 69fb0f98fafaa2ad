#include "engine/kernels/depthwise.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "engine/cpu/isa.h"
#include "engine/cpu/team.h"
#include "engine/kernels/reference.h"
#include "engine/tensor/tensor.h"

namespace hachi {
namespace {

TEST(DepthwiseTest, EqualsTheReferenceForEveryGeometry) {
  if (DetectIsa() < Isa::kAvx512Vnni) GTEST_SKIP() << "no AVX-512 VNNI";
  std::mt19937 random(1);
  constexpr int64_t kImages = 2;
  for (const int threads : {1, 2})
    for (const int64_t channels : {1, 16, 24, 32, 33, 63, 64, 65, 96, 144})
      for (const auto& [height, width] : {std::pair{1, 1}, {3, 4}, {7, 7}, {8, 13}})
        for (const int64_t stride : {1, 2})
          for (const auto& [top, left] : {std::pair{1, 1}, {0, 1}, {1, 0}})
            for (const DType to : {DType::kU8, DType::kS8}) {
              SetTeam(threads);
              DepthwiseSpec spec{.height = height,
                                 .width = width,
                                 .channels = channels,
                                 .stride = stride,
                                 .pad_top = top,
                                 .pad_left = left,
                                 .to = to};
              // As many outputs as one pixel of padding below and to the right allows.
              spec.out_height = (height + top - 2) / stride + 1;
              spec.out_width = (width + left - 2) / stride + 1;
              if (spec.out_height < 1 || spec.out_width < 1) continue;
              spec.lowest = to == DType::kU8 ? 3 : -100;
              spec.highest = to == DType::kU8 ? 240 : 99;
              for (int64_t c = 0; c < channels; ++c) {
                for (int tap = 0; tap < 9; ++tap) spec.weights.push_back(static_cast<int8_t>(random()));
                spec.factor.push_back(static_cast<float>(random() % 1000) * 1e-6f);
                spec.offset.push_back(static_cast<float>(random() % 256));
              }
              Tensor in(DType::kU8, {kImages, height, width, channels});
              for (uint8_t& pixel : in.As<uint8_t>()) pixel = static_cast<uint8_t>(random());
              const Shape shape = {kImages, spec.out_height, spec.out_width, channels};
              Tensor got(DType::kU8, shape), want(DType::kU8, shape);
              Depthwise(spec).Run(in.bytes().data(), kImages, got.bytes().data());
              reference::Depthwise(spec, in.bytes().data(), kImages, want.bytes().data());
              for (int64_t i = 0; i < want.count(); ++i)
                ASSERT_EQ(got.As<uint8_t>()[i], want.As<uint8_t>()[i])
                    << i << " of " << ShapeText(shape) << " stride " << stride << " pads " << top << left;
            }
}

}  // namespace
}  // namespace hachi
