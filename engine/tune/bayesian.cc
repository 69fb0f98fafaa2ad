#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

#include "engine/base/status_macros.h"
#include "engine/tune/strategy.h"

namespace hachi {
namespace {

// What is believed of the noise that each layer adds in INT8: a normal distribution over all of them, as a
// trial's noise is taken for the sum of what its INT8 layers add.
class NoiseBelief {
 public:
  // Before any trial: every layer adds its share of `noise`, give or take that much.
  NoiseBelief(size_t layers, double noise)
      : mean_(layers, noise / static_cast<double>(std::max<size_t>(layers, 1))),
        covariance_(layers, std::vector<double>(layers)),
        trust_(noise * noise * kUnexplained) {
    for (size_t i = 0; i < layers; ++i) covariance_[i][i] = noise * noise;
  }

  // A trial with these layers in INT8 had that noise.
  void Learn(const std::vector<bool>& in_int8, double noise) {
    const size_t layers = mean_.size();
    std::vector<double> gain(layers);
    double variance = trust_, error = noise;
    for (size_t j = 0; j < layers; ++j) {
      if (!in_int8[j]) continue;
      error -= mean_[j];
      for (size_t i = 0; i < layers; ++i) gain[i] += covariance_[i][j];
    }
    for (size_t i = 0; i < layers; ++i)
      if (in_int8[i]) variance += gain[i];
    for (size_t i = 0; i < layers; ++i) {
      mean_[i] += gain[i] * error / variance;
      for (size_t j = 0; j < layers; ++j) covariance_[i][j] -= gain[i] * gain[j] / variance;
    }
  }

  // The noise of each layer, drawn by chance from what is believed of it; never negative.
  std::vector<double> Draw(std::mt19937_64& random) const {
    std::vector<double> drawn;
    for (size_t i = 0; i < mean_.size(); ++i)
      drawn.push_back(std::max(0.0, mean_[i] + Normal(random) * std::sqrt(std::max(0.0, covariance_[i][i]))));
    return drawn;
  }

 private:
  static constexpr double kUnexplained = 1e-4;  // of the variance of noise: layers do not just add up

  static double Normal(std::mt19937_64& random) {
    const auto uniform = [&] { return (static_cast<double>(random() >> 11) + 0.5) / (uint64_t{1} << 53); };
    const double radius = std::sqrt(-2 * std::log(uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

  std::vector<double> mean_;
  std::vector<std::vector<double>> covariance_;
  const double trust_;
};

// The layers to take out so that the noise stays below the limit: those first that add most for the time
// that they save.
std::vector<size_t> Choose(const std::vector<Layer>& layers, const std::vector<double>& noise, double limit) {
  const auto worth = [&](size_t i) {
    return noise[i] / std::max(1e-6, absl::ToDoubleSeconds(layers[i].cost));
  };
  std::vector<size_t> order(layers.size()), out;
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater(), worth);
  double left = std::accumulate(noise.begin(), noise.end(), 0.0);
  for (const size_t layer : order) {
    if (left <= limit) break;
    out.push_back(layer);
    left -= noise[layer];
  }
  return out;
}

}  // namespace

absl::Status SearchByBayes(TuneSearch& search) {
  ASSIGN_OR_RETURN(const Trial plain, search.Try(search.plain()));
  const std::vector<Layer>& layers = search.layers();
  NoiseBelief belief(layers.size(), plain.measured.score.noise);
  belief.Learn(std::vector<bool>(layers.size(), true), plain.measured.score.noise);
  // Small networks run out of candidates that are new.
  const int64_t draws = 10 * search.max_trials();
  for (int64_t i = 0; i < draws; ++i) {
    const std::vector<size_t> out = Choose(layers, belief.Draw(search.random()), search.likely_noise());
    ASSIGN_OR_RETURN(const Trial trial, search.Try(Without(search, search.plain(), out)));
    std::vector<bool> in_int8(layers.size(), true);
    for (const size_t layer : out) in_int8[layer] = false;
    belief.Learn(in_int8, trial.measured.score.noise);
  }
  return absl::OkStatus();
}

}  // namespace hachi
