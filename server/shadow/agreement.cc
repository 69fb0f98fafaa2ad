#include "server/shadow/agreement.h"

#include <cmath>
#include <cstring>
#include <span>

#include "engine/tensor/scores.h"

namespace hachi::server {
namespace {

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
    const ScoredPlaces places = CompareLargest(served[i].As<float>(), fp32[i].As<float>(), fp32[i].shape());
    agreement.places += places.count;
    agreement.agreeing += places.agreeing;
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
