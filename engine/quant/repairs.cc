#include "engine/quant/repairs.h"

#include <algorithm>
#include <cmath>

namespace hachi {
namespace {

constexpr double kWorthwhileGain = 2;  // decibels: estimates are that good
constexpr double kLeast = 1e-4;        // of the largest magnitude: what is less counts as that
constexpr double kStrengths[] = {0.3, 0.5, 0.7, 0.85, 1.0};  // of the migration

// What noise needs to know of one reader's weights.
struct Reader {
  std::vector<float> largest;         // [outputs, inputs]: magnitudes
  std::vector<double> energy;         // [inputs]: sums of squares
  std::vector<double> input_largest;  // [inputs]
  int64_t outputs, pixels;

  explicit Reader(const ProductWeights& weights)
      : largest(static_cast<size_t>(weights.outputs() * weights.inputs())),
        energy(static_cast<size_t>(weights.inputs())),
        input_largest(energy.size()),
        outputs(weights.outputs()),
        pixels(weights.pixels()) {
    const auto values = weights.values.As<float>();
    weights.ForEachPair([&](int64_t output, int64_t input, int64_t index) {
      float most = 0;
      double sum = 0;
      for (const float w : values.subspan(static_cast<size_t>(index), static_cast<size_t>(pixels))) {
        most = std::max(most, std::abs(w));
        sum += static_cast<double>(w) * static_cast<double>(w);
      }
      largest[static_cast<size_t>(output) * energy.size() + static_cast<size_t>(input)] = most;
      energy[static_cast<size_t>(input)] += sum;
      input_largest[static_cast<size_t>(input)] =
          std::max(input_largest[static_cast<size_t>(input)], static_cast<double>(most));
    });
  }

  // Of the outputs, relative to their signal: `powers` are the inputs' mean squares, `noise` that of
  // an input times its factor.
  double Noise(std::span<const double> factors, std::span<const double> powers, double noise) const {
    double from_inputs = 0, signal = 0, weighted = 0;
    for (size_t c = 0; c < energy.size(); ++c) {
      from_inputs += energy[c] / (factors[c] * factors[c]) * noise;
      signal += energy[c] * powers[c];
      weighted += factors[c] * factors[c] * powers[c];
    }
    double steps = 0;  // sums of squares of the weights' steps
    for (int64_t o = 0; o < outputs; ++o) {
      double most = 0;
      for (size_t c = 0; c < energy.size(); ++c)
        most = std::max(
            most, static_cast<double>(largest[static_cast<size_t>(o) * energy.size() + c]) / factors[c]);
      steps += most / 127 * (most / 127);
    }
    const double from_weights = steps / 12 * static_cast<double>(pixels) * weighted;
    return signal > 0 ? (from_inputs + from_weights) / signal : 0;
  }
};

// The tensor's range times factors as integers.
ActivationQuant QuantOf(const TensorStats& stats, std::span<const double> factors, bool signed_activations) {
  double low = 0, high = 0;
  for (size_t c = 0; c < factors.size(); ++c) {
    const auto channel = static_cast<int64_t>(c);
    low = std::min(low, static_cast<double>(stats.ChannelMin(channel)) * factors[c]);
    high = std::max(high, static_cast<double>(stats.ChannelMax(channel)) * factors[c]);
  }
  auto quant = ChooseActivationQuant(TensorStats::OfRange(static_cast<float>(low), static_cast<float>(high)),
                                     RangeMethod::kMinMax);
  if (quant->dtype == DType::kS8 && !signed_activations) {
    quant->dtype = DType::kU8;
    quant->params.zero_points[0] += 128;
  }
  return *std::move(quant);
}

// Of what was counted; 0: nothing was.
double MeanSquare(const Histogram& histogram) {
  double sum = 0, count = 0;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    const double middle = histogram.MiddleOf(i);
    sum += static_cast<double>(histogram.counts()[i]) * middle * middle;
    count += static_cast<double>(histogram.counts()[i]);
  }
  return count > 0 ? sum / count : 0;
}

double Decibels(double ratio) { return 10 * std::log10(ratio); }

}  // namespace

std::optional<Equalization> ChooseEqualization(const TensorStats& stats, const ActivationQuant& whole,
                                               std::span<const ProductWeights> weights,
                                               bool signed_activations) {
  const int64_t channels = weights.front().inputs();
  if (stats.channels() != channels || channels < 2 || !stats.quantizable()) return std::nullopt;
  std::vector<Reader> readers;
  for (const ProductWeights& each : weights) readers.emplace_back(each);

  const auto count = static_cast<size_t>(channels);
  const ChannelMoments moments(stats, {});
  const std::vector<double>& powers = moments.powers;
  std::vector<double> activations(count), largest(count);
  for (size_t c = 0; c < count; ++c) {
    activations[c] = static_cast<double>(stats.ChannelAbsmax(static_cast<int64_t>(c)));
    for (const Reader& reader : readers) largest[c] = std::max(largest[c], reader.input_largest[c]);
  }
  for (std::vector<double>* magnitudes : {&activations, &largest}) {
    const double most = std::ranges::max(*magnitudes);
    if (!(most > 0) || !std::isfinite(most)) return std::nullopt;
    for (double& magnitude : *magnitudes) magnitude = std::max(magnitude, most * kLeast);
  }
  const auto noise_of = [&](std::span<const double> factors, double mse) {
    double sum = 0;
    for (const Reader& reader : readers) sum += reader.Noise(factors, powers, mse);
    return sum;
  };

  const double before = noise_of(std::vector(count, 1.0), whole.mse);
  double least = before;
  Equalization best;
  for (const double strength : kStrengths) {
    std::vector<double> factors(count);
    for (size_t c = 0; c < count; ++c)
      factors[c] = std::pow(largest[c], 1 - strength) / std::pow(activations[c], strength);
    ActivationQuant quant = QuantOf(stats, factors, signed_activations);
    const auto step = static_cast<double>(quant.params.scale());
    quant.mse = step * step / 12;
    const double noise = noise_of(factors, quant.mse);
    if (!(noise < least)) continue;
    least = noise;
    best.factors.assign(factors.begin(), factors.end());
    best.quant = std::move(quant);
  }
  if (best.factors.empty() || before <= 0) return std::nullopt;
  best.gain = Decibels(before / least);
  if (best.gain < kWorthwhileGain) return std::nullopt;
  return best;
}

ChannelMoments::ChannelMoments(const TensorStats& stats, std::span<const float> factors) {
  double sum = 0;
  for (int64_t c = 0; c < stats.channels(); ++c) {
    const auto mean = static_cast<double>(stats.ChannelMean(c));
    // Six deviations are taken to reach over what was seen; the tensor's own mean square sets that right.
    const double deviation =
        (static_cast<double>(stats.ChannelMax(c)) - static_cast<double>(stats.ChannelMin(c))) / 6;
    means.push_back(mean);
    powers.push_back(mean * mean + deviation * deviation);
    sum += powers.back();
  }
  const double known = MeanSquare(stats.histogram());
  const double scale = known > 0 && sum > 0 ? known * static_cast<double>(stats.channels()) / sum : 1.0;
  for (size_t c = 0; c < powers.size(); ++c) {
    const double factor = factors.empty() ? 1.0 : static_cast<double>(factors[c]);
    means[c] *= factor;
    powers[c] = std::max(powers[c] * scale * factor * factor, means[c] * means[c]);
  }
}

MeanError FindMeanError(const ProductWeights& weights, const TensorView& rounded,
                        std::span<const float> scales, const ChannelMoments& inputs, double mse) {
  std::vector<double> errors(static_cast<size_t>(weights.outputs()));
  const auto values = weights.values.As<float>();
  const auto integers = rounded.As<int8_t>();
  const auto pixels = static_cast<size_t>(weights.pixels());
  double noise = 0;  // of all outputs
  weights.ForEachPair([&](int64_t output, int64_t input, int64_t index) {
    const double scale = static_cast<double>(scales[scales.size() == 1 ? 0 : static_cast<size_t>(output)]);
    double sum = 0, squares = 0, energy = 0;
    for (size_t i = static_cast<size_t>(index); i < static_cast<size_t>(index) + pixels; ++i) {
      const auto weight = static_cast<double>(values[i]), error = integers[i] * scale - weight;
      sum += error;
      squares += error * error;
      energy += weight * weight;
    }
    errors[static_cast<size_t>(output)] += sum * inputs.means[static_cast<size_t>(input)];
    noise += squares * inputs.powers[static_cast<size_t>(input)] + energy * mse;
  });
  MeanError result{.errors = {errors.begin(), errors.end()}};
  double constant = 0;
  for (const double error : errors) constant += error * error;
  if (noise > 0) result.gain = Decibels(1 + constant / noise);
  return result;
}

}  // namespace hachi
