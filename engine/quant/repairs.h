#pragma once

#include <optional>
#include <span>
#include <vector>

#include "engine/quant/range.h"
#include "engine/quant/tensor_stats.h"
#include "engine/tensor/tensor.h"

// What makes up for errors of quantization, found from the statistics of a calibration table and the weights.
namespace hachi {

// The f32 weights of a product or convolution, as sums over input channels: [outputs, inputs of a group,
// pixels...] or [inputs, outputs, pixels...].
struct ProductWeights {
  TensorView values;
  size_t output_axis = 0;  // 0 or 1; the other one is that of inputs
  int64_t groups = 1;      // of outputs, where output_axis is 0: each reads its own inputs

  int64_t outputs() const { return values.shape[output_axis]; }
  int64_t inputs() const { return values.shape[1 - output_axis] * groups; }

  // Calls fn(output, input, index) for the first of the pixels that each pair of them has.
  template <typename Fn>
  void ForEachPair(const Fn& fn) const {
    const int64_t columns = values.shape[1], pixels = this->pixels();
    for (int64_t row = 0; row < values.shape[0]; ++row)
      for (int64_t column = 0; column < columns; ++column) {
        const int64_t index = (row * columns + column) * pixels;
        if (output_axis == 1)
          fn(column, row, index);
        else
          fn(row, row / (values.shape[0] / groups) * columns + column, index);
      }
  }
  int64_t pixels() const { return CountOf(values.shape.subspan(2)); }
};

// A tensor's channels times factors, so that they fill the integers alike; what reads it has weights divided
// by them.
struct Equalization {
  std::vector<float> factors;  // one for each channel
  ActivationQuant quant;       // of the tensor times its factors
  double gain = 0;             // decibels of estimated noise that it takes off what reads the tensor
};

// Cross-layer equalization (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
// Correction", 2019), with SmoothQuant's migration strength (Xiao et al., 2022) found by search: a channel's
// factor is weights^(1 - a) / activations^a of its largest magnitudes. The noise of activations and of
// weights is estimated in each output relative to its signal, and the least wins. nullopt: nothing is won
// beside `whole`, or the statistics know no channels of that number. REQUIRES: all read as many channels;
// groups are 1.
std::optional<Equalization> ChooseEqualization(const TensorStats& stats, const ActivationQuant& whole,
                                               std::span<const ProductWeights> readers,
                                               bool signed_activations);

// What the statistics say of each channel of a tensor, times factors.
struct ChannelMoments {
  std::vector<double> means, powers;  // powers: mean squares, estimated: deviations are not known

  // `factors` empty: 1.
  ChannelMoments(const TensorStats& stats, std::span<const float> factors);
};

// What rounded weights add to each output on the average.
struct MeanError {
  std::vector<float> errors;  // to be taken off the bias
  double gain = 0;            // decibels of estimated noise that this takes off the outputs
};

// Bias correction (Nagel et al., 2019): sums of the channels' means times the errors of the weights, which
// `rounded` and `scales` (one, or one an output) stand for. Borders count as the middle of an image does.
// `mse` is the noise of each input. REQUIRES: moments of each input; `rounded` is s8 in the weights' shape.
MeanError FindMeanError(const ProductWeights& weights, const TensorView& rounded,
                        std::span<const float> scales, const ChannelMoments& inputs, double mse);

}  // namespace hachi
