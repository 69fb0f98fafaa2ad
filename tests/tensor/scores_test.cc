#include "engine/tensor/scores.h"

#include <gtest/gtest.h>

#include <vector>

namespace hachi {
namespace {

TEST(ScoresTest, FirstOfEqualScoresIsTheLargest) {
  EXPECT_EQ(PlaceOfLargest(std::vector<float>{1, 3, 3}), 1u);
}

TEST(ScoresTest, PlacesAreVectorsAlongTheLastAxis) {
  const std::vector<float> ours = {1, 2, 4, 3}, theirs = {0, 5, 0, 5};
  const ScoredPlaces places = CompareLargest(ours, theirs, {2, 2});
  EXPECT_EQ(places.count, 2);
  EXPECT_EQ(places.agreeing, 1);
}

TEST(ScoresTest, OfANumberAloneNothingIsLargest) {
  EXPECT_EQ(CompareLargest(std::vector<float>{1, 2}, std::vector<float>{1, 2}, {2, 1}).count, 0);
  EXPECT_EQ(CompareLargest(std::vector<float>{1}, std::vector<float>{1}, {}).count, 0);
}

}  // namespace
}  // namespace hachi
