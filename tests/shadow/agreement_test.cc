#include "server/shadow/agreement.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <limits>
#include <utility>

namespace hachi::server {
namespace {

Agreement Of(Tensor served, Tensor fp32) {
  std::vector<Tensor> ours, theirs;
  ours.push_back(std::move(served));
  theirs.push_back(std::move(fp32));
  return Compare(ours, theirs);
}

Tensor Floats(Shape shape, std::initializer_list<float> values) {
  return Tensor::Of<float>(std::move(shape), values);
}

TEST(AgreementTest, ARowOfScoresAgreesWhereItsLargestIs) {
  EXPECT_EQ(Of(Floats({1, 3}, {1, 5, 2}), Floats({1, 3}, {2, 4, 3})).agreeing, 1);
  EXPECT_EQ(Of(Floats({1, 3}, {1, 2, 5}), Floats({1, 3}, {2, 4, 3})).agreeing, 0);
}

TEST(AgreementTest, EachRowAlongTheLastAxisIsAPlace) {
  const Agreement agreement =
      Of(Floats({1, 3, 2}, {0, 1, 0, 1, 0, 1}), Floats({1, 3, 2}, {0, 1, 1, 0, 0, 1}));
  EXPECT_EQ(agreement.places, 3);
  EXPECT_EQ(agreement.agreeing, 2);
}

TEST(AgreementTest, TheErrorIsTheDifferencesSizeOverFp32s) {
  EXPECT_DOUBLE_EQ(Of(Floats({1, 2}, {3, 5}), Floats({1, 2}, {3, 4})).error, 0.2);
  EXPECT_EQ(Of(Floats({1, 2}, {3, 4}), Floats({1, 2}, {3, 4})).error, 0);
  EXPECT_EQ(Of(Floats({1, 2}, {1, 1}), Floats({1, 2}, {0, 0})).error, 10);
  EXPECT_EQ(Of(Floats({1, 2}, {std::numeric_limits<float>::quiet_NaN(), 1}), Floats({1, 2}, {1, 1})).error,
            10);
}

TEST(AgreementTest, IntegersAgreeWhereTheyAreEqual) {
  const Agreement agreement =
      Of(Tensor::Of<int64_t>({1, 3}, {1, 2, 3}), Tensor::Of<int64_t>({1, 3}, {1, 2, 4}));
  EXPECT_EQ(agreement.places, 3);
  EXPECT_EQ(agreement.agreeing, 2);
}

TEST(AgreementTest, OutputsThatWereNotWantedArePassedOver) {
  EXPECT_EQ(Of(Tensor(), Floats({1, 3}, {2, 4, 3})).places, 0);
}

}  // namespace
}  // namespace hachi::server
