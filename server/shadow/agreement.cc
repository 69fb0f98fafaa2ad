#include "server/shadow/agreement.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

namespace hachi::server {
namespace {

size_t PlaceOfLargest(std::span<const float> scores) {
  return static_cast<size_t>(std::ranges::max_element(scores) - scores.begin());
}

void ComparePlaces(const Tensor& served, const Tensor& fp32, Agreement& agreement) {
  const size_t scores = fp32.shape().empty() ? 1 : static_cast<size_t>(fp32.shape().back());
  if (scores < 2) return;  // a number alone has no place
  const std::span ours = served.As<float>(), theirs = fp32.As<float>();
  for (size_t i = 0; i < theirs.size(); i += scores) {
    ++agreement.places;
    agreement.agreeing +=
        PlaceOfLargest(ours.subspan(i, scores)) == PlaceOfLargest(theirs.subspan(i, scores));
  }
}

void CompareElements(const Tensor& served, const Tensor& fp32, Agreement& agreement) {
  const size_t size = SizeOf(fp32.dtype());
  for (size_t i = 0; i < fp32.bytes().size(); i += size) {
    ++agreement.places;
    agreement.agreeing += std::memcmp(served.bytes().data() + i, fp32.bytes().data() + i, size) == 0;
  }
}

}  // namespace

Agreement Compare(const std::vector<Tensor>& served, const std::vector<Tensor>& fp32) {
  constexpr double kMostError = 10;
  Agreement agreement;
  double difference = 0, size = 0;
  for (size_t i = 0; i < served.size(); ++i) {
    if (served[i].count() == 0) continue;
    if (fp32[i].dtype() != DType::kF32) {
      CompareElements(served[i], fp32[i], agreement);
      continue;
    }
    ComparePlaces(served[i], fp32[i], agreement);
    const std::span ours = served[i].As<float>(), theirs = fp32[i].As<float>();
    for (size_t k = 0; k < theirs.size(); ++k) {
      difference += (double{ours[k]} - theirs[k]) * (double{ours[k]} - theirs[k]);
      size += double{theirs[k]} * theirs[k];
    }
  }
  if (difference == 0) return agreement;
  const double error = std::sqrt(difference / size);
  agreement.error = error < kMostError ? error : kMostError;  // also where it is no number
  return agreement;
}

}  // namespace hachi::server
