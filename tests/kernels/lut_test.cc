#include "engine/kernels/lut.h"

#include "tests/kernels/kernel_test_util.h"

namespace hachi {
namespace {

template <typename T>
void ExpectMapIsALookup(const std::array<T, 256>& table) {
  for (const int threads : {1, 3}) {
    SetTeam(threads);
    for (const size_t count : {1, 63, 64, 65, 128, 100'003}) {
      const std::vector<std::byte> bytes = RandomBytes(count);
      const std::span in(reinterpret_cast<const uint8_t*>(bytes.data()), count);
      std::vector<T> expected, out(count);
      for (const uint8_t x : in) expected.push_back(table[x]);
      MapBytes(in, table, std::span<T>(out));
      ExpectSame<T>(out, expected);
    }
  }
  SetTeam(1);
}

TEST(LutTest, EveryByteGetsItsEntry) {
  ExpectMapIsALookup(TableOf<uint8_t, uint8_t>([](uint8_t x) { return static_cast<uint8_t>(x * 37 + 11); }));
  ExpectMapIsALookup(TableOf<uint8_t, float>([](uint8_t x) { return static_cast<float>(x) * -0.25f; }));
}

TEST(LutTest, TablesOfSignedBytesAreIndexedByBitPattern) {
  const auto table = TableOf<int8_t, float>([](int8_t x) { return static_cast<float>(x); });
  EXPECT_EQ(table[0x80], -128.0f);
  EXPECT_EQ(table[0xff], -1.0f);
  EXPECT_EQ(table[0x7f], 127.0f);
}

TEST(LutTest, InPlaceIsFine) {
  const auto table = TableOf<uint8_t, uint8_t>([](uint8_t x) { return static_cast<uint8_t>(255 - x); });
  std::vector<uint8_t> bytes(200);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i);
  MapBytes(bytes, table, std::span<uint8_t>(bytes));
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], 255 - i);
}

}  // namespace
}  // namespace hachi
