#include "engine/kernels/quantize.h"

#include "engine/tensor/quant_params.h"
#include "tests/kernels/kernel_test_util.h"

namespace hachi {
namespace {

// One, around the widths of vectors, and enough for several threads.
const std::vector<size_t> kCounts = {1, 3, 15, 16, 17, 63, 64, 65, 1000, 100'003};

template <typename Q>
void ExpectQuantizeIsExact(float scale, int32_t zero_point) {
  OnEveryTarget([&] {
    for (const size_t count : kCounts) {
      const std::vector<float> in = TrickyFloats(count, scale);
      std::vector<Q> expected, out(count);
      for (const float x : in) expected.push_back(QuantizeValue<Q>(x, scale, zero_point));
      Quantize(in, scale, zero_point, std::span<Q>(out));
      ExpectSame<Q>(out, expected);
    }
  });
}

TEST(QuantizeTest, AgreesWithTheDefinitionForEveryKindOfValue) {
  for (const float scale : {1.0f, 0.037f, 3.1e-5f}) {
    ExpectQuantizeIsExact<uint8_t>(scale, 0);
    ExpectQuantizeIsExact<uint8_t>(scale, 128);
    ExpectQuantizeIsExact<uint8_t>(scale, 255);
    ExpectQuantizeIsExact<int8_t>(scale, 0);
    ExpectQuantizeIsExact<int8_t>(scale, -128);
    ExpectQuantizeIsExact<int8_t>(scale, 127);
  }
}

TEST(QuantizeTest, AFactorIsMultipliedBy) {
  OnEveryTarget([] {
    for (const size_t count : kCounts) {
      const std::vector<float> in = TrickyFloats(count, 0.25f);
      std::vector<int8_t> expected, out(count);
      for (const float x : in) expected.push_back(QuantizeValue<int8_t>(x * 3.0f, 1.0f, -5));
      QuantizeBy(in, 3.0f, -5, std::span<int8_t>(out));
      ExpectSame<int8_t>(out, expected);
    }
  });
}

TEST(QuantizeTest, RowsAreMultipliedByTheirFactorsFirst) {
  OnEveryTarget([&] {
    for (const size_t length : {1, 5, 16, 70}) {
      const std::vector<float> in = TrickyFloats(length * 9, 0.1f);
      std::vector<float> factors;
      for (size_t i = 0; i < length; ++i) factors.push_back(0.25f + 0.37f * static_cast<float>(i));
      std::vector<uint8_t> expected, out(in.size());
      for (size_t i = 0; i < in.size(); ++i)
        expected.push_back(QuantizeValue<uint8_t>(in[i] * factors[i % length], 0.1f, 100));
      QuantizeRows(in, factors, 0.1f, 100, std::span<uint8_t>(out));
      ExpectSame<uint8_t>(out, expected);
    }
  });
}

template <typename Q>
void ExpectDequantizeIsExact(float scale, int32_t zero_point) {
  OnEveryTarget([&] {
    for (const size_t count : kCounts) {
      const std::vector<std::byte> bytes = RandomBytes(count);
      const std::span in(reinterpret_cast<const Q*>(bytes.data()), count);
      std::vector<float> expected, out(count);
      for (const Q q : in) expected.push_back(DequantizeValue(q, scale, zero_point));
      Dequantize(in, scale, zero_point, out);
      ExpectSame<float>(out, expected);
    }
  });
}

TEST(QuantizeTest, DequantizeAgreesWithTheDefinition) {
  ExpectDequantizeIsExact<uint8_t>(0.037f, 0);
  ExpectDequantizeIsExact<uint8_t>(0.037f, 131);
  ExpectDequantizeIsExact<int8_t>(3.1e-5f, -7);
}

}  // namespace
}  // namespace hachi
