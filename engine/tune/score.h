#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/accuracy.h"
#include "engine/tensor/shape.h"

namespace hachi {

// What a model answered to one row: each output's elements as real numbers (64-bit integers beyond 2^24 are
// rounded).
struct Answer {
  std::vector<std::vector<float>> outputs;
  std::vector<Shape> shapes;
};

// The noise at which half of its share is that drop. See Scorer.
constexpr double NoiseOfDrop(double drop) { return 2 * drop; }

// A score of answers, by itself and against FP32's.
struct Score {
  double value = 0;  // in the metric's unit, see Metric
  double drop = 0;   // what is lost; negative where FP32 is beaten

  // Of the output that fares worst, the difference's share of FP32's power, 0 where nothing differs. Unlike
  // others it falls with every layer that is improved: what searches steer by. At most a million.
  double noise = 0;
};

// Scores answers against what FP32 answered to the same rows, and against labels where there are any.
//
// What is lost is relative to FP32's score by labels (`absolute`: the difference of both); 1 less agreement
// or cosine; half the noise's share, so that 1 % is 17 dB, what a cosine of 0.99 comes to.
//
// Thread-safe: immutable.
class Scorer {
 public:
  // `labels`: a class a row, or none. INVALID_ARGUMENT where the metric wants labels and there are none, a
  // label is none of the classes of the first output, or no output is anything to compare.
  static absl::StatusOr<Scorer> Create(Metric metric, std::vector<Answer> reference,
                                       std::vector<int64_t> labels, bool absolute = false);

  Metric metric() const { return metric_; }  // never kAuto

  // FP32's own score. Its drop is 0.
  const Score& baseline() const { return baseline_; }

  // REQUIRES: answers to all rows, in their order.
  Score Of(std::span<const Answer> answers) const;

  // The noise of answers to some rows, by their places.
  double Noise(std::span<const Answer> answers, std::span<const size_t> rows) const;

  // The most that may be lost: `max_drop`, but no less than one row or place of those that are counted. Of
  // fewer than a hundred rows, one alone says nothing.
  double Budget(double max_drop) const;

  size_t rows() const { return reference_.size(); }

  // Whether the answer has as many elements as FP32's to that row.
  bool IsLike(const Answer& answer, size_t row) const { return answer.shapes == reference_[row].shapes; }

 private:
  Scorer() = default;

  double Value(std::span<const Answer> answers) const;
  double Drop(double value) const;

  Metric metric_ = Metric::kSnr;
  std::vector<Answer> reference_;
  std::vector<int64_t> labels_;
  bool absolute_ = false;
  Score baseline_;
};

}  // namespace hachi
