#include "engine/kernels/rescale_rows.h"

#include <gtest/gtest.h>

#include <vector>

namespace hachi {
namespace {

TEST(RescaleRowsTest, SumsStandForRealNumbersOfTheirRow) {
  for (const size_t columns : {1, 16, 37})
    for (const size_t quants : {1, 3}) {
      std::vector<float> in(3 * columns), sums(columns), bias(columns), out(3 * columns);
      for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i % 23) * 100;
      for (size_t c = 0; c < columns; ++c) {
        sums[c] = static_cast<float>(c) - 5;
        bias[c] = 0.25f * static_cast<float>(c);
      }
      const RowQuant all[] = {{0.5f, 3}, {0.25f, 0}, {2.0f, 255}};
      RescaleRows(in, std::span(all, quants), sums, bias, out.data());
      for (size_t i = 0; i < out.size(); ++i) {
        const RowQuant& quant = all[quants == 1 ? 0 : i / columns];
        const size_t c = i % columns;
        EXPECT_FLOAT_EQ(out[i],
                        (in[i] - static_cast<float>(quant.zero_point) * sums[c]) * quant.scale + bias[c]);
      }
    }
}

}  // namespace
}  // namespace hachi
