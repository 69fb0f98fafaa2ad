#include "engine/kernels/permute.h"

#include "engine/kernels/reference.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/support/status_matchers.h"

namespace hachi {
namespace {

void ExpectAgrees(const Shape& shape, const Layout& from, const Layout& to) {
  SCOPED_TRACE(ShapeText(shape) + " " + from.ToText() + " -> " + to.ToText());
  for (const size_t bytes : {1, 2, 4, 8}) {
    const auto in = RandomBytes(static_cast<size_t>(CountOf(shape)) * bytes);
    std::vector<std::byte> out(in.size()), expected(in.size());
    const auto permute = Permute::Create(shape, from, to, bytes);
    ASSERT_OK(permute);
    permute->Run(in.data(), out.data());
    reference::Permute(shape, from, to, bytes, in.data(), expected.data());
    ExpectSame(out, expected);
  }
}

TEST(PermuteTest, ChannelsFirstAndLastBothWays) {
  OnEveryTarget([] {
    for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{2, 3, 5, 7}, Shape{1, 3, 32, 32}, Shape{2, 16, 4, 4},
                               Shape{1, 15, 9, 9}, Shape{3, 17, 8, 8}, Shape{1, 64, 1, 1},
                               Shape{2, 130, 31, 33}, Shape{2, 20, 40}, Shape{1, 5, 3, 4, 6}}) {
      const Layout last = Layout::ChannelsLast(shape.size());
      ExpectAgrees(shape, Layout(), last);
      ExpectAgrees(shape, last, Layout());
      ExpectAgrees(shape, last, last);
    }
  });
}

TEST(PermuteTest, AnyOrderToAnyOtherOfRankFour) {
  std::vector<int> from{0, 1, 2, 3};
  do {
    std::vector<int> to{0, 1, 2, 3};
    do ExpectAgrees({3, 18, 5, 33}, Layout::FromOrder(from), Layout::FromOrder(to));
    while (std::next_permutation(to.begin(), to.end()));
  } while (std::next_permutation(from.begin(), from.end()));
}

TEST(PermuteTest, ScalarsAndEmptyTensorsAreFine) {
  ExpectAgrees({}, Layout(), Layout());
  ExpectAgrees({0, 3, 4, 4}, Layout(), Layout::ChannelsLast(4));
}

TEST(PermuteTest, OddElementSizeIsRefused) {
  EXPECT_THAT(Permute::Create({2, 3}, Layout(), Layout(), 3), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace hachi
