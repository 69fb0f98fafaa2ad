#include "engine/kernels/byte_panels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "engine/cpu/isa.h"
#include "engine/cpu/team.h"
#include "engine/tensor/tensor.h"

namespace hachi {
namespace {

// Rounded as the kernel rounds: to 127 steps of the largest magnitude.
std::vector<float> Rounded(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  const float scale = largest > 0 ? largest / 127 : 1.0f;
  std::vector<float> rounded;
  for (const float value : values) rounded.push_back(std::nearbyint(value / scale) * scale);
  return rounded;
}

TEST(BytePanelsTest, ProductsAreThoseOfTheRoundedVectors) {
  if (!HasVnni(DetectIsa())) GTEST_SKIP() << "the CPU has no VNNI";
  std::mt19937 random(5);
  std::uniform_real_distribution<float> uniform(-2, 2);
  for (const int threads : {1, 2})
    for (const int64_t rows : {1, 3, 4, 9})
      for (const int64_t columns : {1, 16, 70})
        for (const int64_t depth : {1, 4, 37}) {
          SetTeam(threads);
          std::vector<float> x(static_cast<size_t>(rows * depth)), w(static_cast<size_t>(columns * depth)),
              out(static_cast<size_t>(rows * columns), 1.0f);
          for (float& value : x) value = uniform(random);
          for (float& value : w) value = uniform(random);
          const AlignedBuffer packed(BytePanelMatrix::BytesOf(depth, columns));
          PackBytePanels(w, columns, depth, packed.data());
          std::vector<uint8_t> bytes(static_cast<size_t>(rows * BytePanelMatrix::PaddedDepth(depth)));
          AddBytePanelProducts({x.data(), rows, depth, depth}, {packed.data(), depth, columns}, bytes,
                               out.data(), columns);
          const auto d = static_cast<size_t>(depth);
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < columns; ++c) {
              const auto a = Rounded(std::span(x).subspan(static_cast<size_t>(r) * d, d)),
                         b = Rounded(std::span(w).subspan(static_cast<size_t>(c) * d, d));
              float expected = 1;
              for (size_t k = 0; k < d; ++k) expected += a[k] * b[k];
              // A tie of one element may fall to the other side.
              EXPECT_NEAR(out[static_cast<size_t>(r * columns + c)], expected, 0.04f);
            }
        }
}

TEST(BytePanelsTest, RowsOfZerosAddNothing) {
  if (!HasVnni(DetectIsa())) GTEST_SKIP() << "the CPU has no VNNI";
  const std::vector<float> w{1, -1, 2, 0.5f}, x(4);
  float out = 7;
  const AlignedBuffer packed(BytePanelMatrix::BytesOf(4, 1));
  PackBytePanels(w, 1, 4, packed.data());
  uint8_t bytes[4];
  AddBytePanelProducts({x.data(), 1, 4, 4}, {packed.data(), 4, 1}, bytes, &out, 1);
  EXPECT_EQ(out, 7);
}

}  // namespace
}  // namespace hachi
