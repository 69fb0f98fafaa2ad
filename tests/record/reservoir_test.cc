#include "server/record/reservoir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace hachi::server {
namespace {

TEST(ReservoirTest, TheFirstItemsFillThePlacesInOrder) {
  Reservoir reservoir(/*places=*/3, /*seed=*/1);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(reservoir.Place(), i);
}

TEST(ReservoirTest, EachItemOfAStreamStaysAsOftenAsAnyOther) {
  constexpr int kItems = 40, kPlaces = 10, kStreams = 8000;
  std::vector<int> kept(kItems);
  for (int stream = 0; stream < kStreams; ++stream) {
    Reservoir reservoir(kPlaces, static_cast<uint64_t>(stream));
    std::vector<int> places(kPlaces, -1);
    for (int item = 0; item < kItems; ++item)
      if (const auto place = reservoir.Place()) places[static_cast<size_t>(*place)] = item;
    for (int item : places) ++kept[static_cast<size_t>(item)];
  }
  // 2,000 of each are expected; five standard deviations are 194.
  EXPECT_THAT(kept, testing::Each(testing::AllOf(testing::Gt(1806), testing::Lt(2194))));
}

}  // namespace
}  // namespace hachi::server
