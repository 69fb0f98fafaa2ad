#include "engine/kernels/panel_products.h"

#include <gtest/gtest.h>

#include <vector>

#include "engine/tensor/tensor.h"
#include "tests/kernels/kernel_test_util.h"

namespace hachi {
namespace {

TEST(PanelProductsTest, EveryShapeAgreesWithTheSumsOfProducts) {
  for (const int64_t rows : {1, 3, 4, 9})
    for (const int64_t columns : {1, 16, 37, 64, 200})
      for (const int64_t depth : {1, 7, 96}) {
        std::vector<float> x(static_cast<size_t>(rows * depth)), w(static_cast<size_t>(columns * depth));
        for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) - 6;
        for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i % 7) - 3;
        const AlignedBuffer packed(static_cast<size_t>(depth * PanelMatrix::Padded(columns)) * sizeof(float));
        PackPanels(w, columns, depth,
                   {reinterpret_cast<float*>(packed.data()), packed.size() / sizeof(float)});
        const int64_t stride = columns + 3;
        std::vector<float> out(static_cast<size_t>(rows * stride), 1.0f);
        AddPanelProducts({x.data(), rows, depth, depth},
                         {reinterpret_cast<const float*>(packed.data()), depth, columns}, out.data(), stride);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < stride; ++c) {
            float want = 1;
            for (int64_t k = 0; k < depth && c < columns; ++k) want += x[r * depth + k] * w[c * depth + k];
            ASSERT_EQ(out[r * stride + c], want) << rows << "x" << columns << "x" << depth;
          }
      }
}

}  // namespace
}  // namespace hachi
