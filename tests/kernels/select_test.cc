#include "engine/kernels/select.h"

#include <memory>

#include "engine/kernels/reference.h"
#include "tests/kernels/kernel_test_util.h"

namespace hachi {
namespace {

TEST(SelectTest, AgreesWithTheReference) {
  OnEveryTarget([] {
    for (const size_t count : {1, 15, 16, 33, 100}) {
      std::mt19937 random(1);
      std::vector<uint32_t> a(count), b(count), out(count), expected(count);
      const auto condition = std::make_unique<bool[]>(count);
      for (size_t i = 0; i < count; ++i) {
        a[i] = static_cast<uint32_t>(random());
        b[i] = static_cast<uint32_t>(random());
        condition[i] = random() % 2 == 0;
      }
      for (const bool a_repeats : {false, true})
        for (const bool b_repeats : {false, true}) {
          Select(condition.get(), {a.data(), a_repeats}, {b.data(), b_repeats}, count, out.data());
          reference::Select(condition.get(), {a.data(), a_repeats}, {b.data(), b_repeats}, count,
                            expected.data());
          EXPECT_EQ(out, expected) << count << a_repeats << b_repeats;
        }
    }
  });
}

}  // namespace
}  // namespace hachi
