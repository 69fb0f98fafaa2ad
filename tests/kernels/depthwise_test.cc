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

// Random numbers of a geometry, with as many outputs as padding of so many pixels on every side allows.
class Case {
 public:
  explicit Case(DepthwiseSpec geometry) : spec(std::move(geometry)) {
    const int64_t reach = spec.kernel / 2 - spec.kernel + 1;  // of padding below, less the kernel but one
    spec.out_height = (spec.height + spec.pad_top + reach - 1) / spec.stride_y + 1;
    spec.out_width = (spec.width + spec.pad_left + reach - 1) / spec.stride_x + 1;
    spec.lowest = spec.to == DType::kU8 ? 3 : -100;
    spec.highest = spec.to == DType::kU8 ? 240 : 99;
    for (int64_t c = 0; c < spec.channels; ++c) {
      for (int64_t tap = 0; tap < spec.kernel * spec.kernel; ++tap)
        spec.weights.push_back(static_cast<int8_t>(random_()));
      // Of sums that are far from 0, so that the result is not.
      spec.factor.push_back(static_cast<float>(random_() % 1000) * 1e-6f);
      spec.offset.push_back(static_cast<float>(random_() % 256));
    }
  }

  bool has_outputs() const { return spec.out_height >= 1 && spec.out_width >= 1; }

  // How far the kernel's results are from the reference's.
  int Difference() {
    constexpr int64_t kImages = 2;
    Tensor in(DType::kU8, {kImages, spec.height, spec.width, spec.channels});
    for (uint8_t& pixel : in.As<uint8_t>()) pixel = static_cast<uint8_t>(random_());
    const Shape shape = {kImages, spec.out_height, spec.out_width, spec.channels};
    Tensor got(spec.to, shape), want(spec.to, shape);
    Depthwise(spec).Run(in.bytes().data(), kImages, got.bytes().data());
    reference::Depthwise(spec, in.bytes().data(), kImages, want.bytes().data());
    int64_t difference = 0;
    for (int64_t i = 0; i < want.count(); ++i)
      difference = std::max(difference, std::abs(IntegerOf(got, i) - IntegerOf(want, i)));
    return static_cast<int>(difference);
  }

  DepthwiseSpec spec;

 private:
  static int64_t IntegerOf(const Tensor& tensor, int64_t i) {
    return tensor.dtype() == DType::kU8 ? int64_t{tensor.As<uint8_t>()[i]} : int64_t{tensor.As<int8_t>()[i]};
  }

  std::mt19937 random_{1};
};

TEST(DepthwiseTest, EqualsTheReferenceForEveryGeometry) {
  if (DetectIsa() < Isa::kAvx512Vnni) GTEST_SKIP() << "no AVX-512 VNNI";
  for (const int threads : {1, 2})
    for (const int64_t channels : {1, 16, 24, 32, 33, 64, 65, 144})
      for (const auto& [height, width] : {std::pair{1, 1}, {3, 4}, {7, 7}, {8, 13}})
        for (const int64_t kernel : {3, 5})
          for (const auto& [down, right] : {std::pair{1, 1}, {2, 2}, {2, 1}, {1, 2}})
            for (const auto& [top, left] : {std::pair{1, 1}, {0, 1}, {1, 0}, {2, 2}})
              for (const int zero_point : {0, 93}) {
                SetTeam(threads);
                Case c({.height = height,
                        .width = width,
                        .channels = channels,
                        .kernel = kernel,
                        .stride_y = down,
                        .stride_x = right,
                        .pad_top = top,
                        .pad_left = left,
                        .zero_point = static_cast<uint8_t>(zero_point),
                        .to = channels % 2 == 0 ? DType::kU8 : DType::kS8});
                if (!c.has_outputs()) continue;
                ASSERT_EQ(c.Difference(), 0)
                    << channels << " channels " << height << "x" << width << " kernel " << kernel
                    << " strides " << down << right << " pads " << top << left;
              }
}

TEST(DepthwiseTest, FusedOperationsAreThoseOfTheReference) {
  if (DetectIsa() < Isa::kAvx512Vnni) GTEST_SKIP() << "no AVX-512 VNNI";
  using Kind = PostOp::Kind;
  for (const std::vector<PostOp>& post_ops : std::vector<std::vector<PostOp>>{
           {{Kind::kClip, -0.5f, 1.0f}},
           {{Kind::kLeakyRelu, 0.1f}},
           {{Kind::kSigmoid}},
           {{Kind::kHardSigmoid, 0.2f, 0.5f}},
           {{Kind::kHardSwish}},
           {{Kind::kSwish, 1.0f}},
           {{Kind::kHardSwish}, {Kind::kLinear, 0.3f, -0.1f}, {Kind::kClip, 0.0f, 2.0f}}}) {
    Case c({.height = 9, .width = 11, .channels = 40, .pad_top = 1, .pad_left = 1, .zero_point = 20});
    for (size_t i = 0; i < c.spec.offset.size(); ++i) {
      c.spec.factor[i] *= 0.1f;  // numbers of about 4
      c.spec.offset[i] = static_cast<float>(i % 7) - 3.0f;
      c.spec.fused.factor.push_back(10.0f + static_cast<float>(i));
    }
    c.spec.fused.zero_point = 30;
    c.spec.fused.post_ops = post_ops;
    for (const PostOp& post_op : post_ops) EXPECT_TRUE(HasVectorForm(post_op));
    // Rounded from numbers that differ in their last digits.
    EXPECT_LE(c.Difference(), 1) << ToText(post_ops.front());
  }
  EXPECT_FALSE(HasVectorForm(PostOp{Kind::kGelu}));
}

}  // namespace
}  // namespace hachi
