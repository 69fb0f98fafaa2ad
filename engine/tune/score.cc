#include "engine/tune/score.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/tensor/scores.h"

namespace hachi {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool IsByLabels(Metric metric) {
  return metric == Metric::kAccuracy || metric == Metric::kTop5 || metric == Metric::kF1;
}

// The place of the largest of some scores. An output of a single integer is a place itself.
int64_t Largest(std::span<const float> scores) {
  if (scores.size() == 1) return static_cast<int64_t>(scores[0]);
  return static_cast<int64_t>(PlaceOfLargest(scores));
}

// Whether the label is among the five largest scores.
bool IsAmongFive(std::span<const float> scores, int64_t label) {
  const float own = scores[static_cast<size_t>(label)];
  return std::ranges::count_if(scores, [&](float score) { return score > own; }) < 5;
}

double F1(std::span<const Answer> answers, std::span<const int64_t> labels) {
  struct Counts {
    double right = 0, found = 0, wanted = 0;
  };
  std::map<int64_t, Counts> classes;
  for (size_t i = 0; i < answers.size(); ++i) {
    const int64_t found = Largest(answers[i].outputs[0]);
    ++classes[labels[i]].wanted;
    ++classes[found].found;
    if (found == labels[i]) ++classes[found].right;
  }
  double sum = 0, wanted = 0;
  for (const auto& [label, counts] : classes) {
    if (counts.wanted == 0) continue;
    sum += 2 * counts.right / (counts.found + counts.wanted);
    ++wanted;
  }
  return sum / wanted;
}

double ShareRight(std::span<const Answer> answers, std::span<const int64_t> labels, Metric metric) {
  double right = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    const std::vector<float>& scores = answers[i].outputs[0];
    right += metric == Metric::kTop5 ? IsAmongFive(scores, labels[i]) : Largest(scores) == labels[i];
  }
  return right / static_cast<double>(answers.size());
}

// The places of one output whose largest score is where the reference has it.
ScoredPlaces ComparePlaces(std::span<const Answer> answers, std::span<const Answer> reference,
                           size_t output) {
  ScoredPlaces all;
  for (size_t i = 0; i < answers.size(); ++i) {
    const ScoredPlaces places =
        CompareLargest(answers[i].outputs[output], reference[i].outputs[output], reference[i].shapes[output]);
    all.count += places.count;
    all.agreeing += places.agreeing;
  }
  return all;
}

struct Sums {
  double product = 0, reference = 0, found = 0, difference = 0;
};

// Over elements that are numbers in the reference; infinite where only the answer's are none.
Sums SumsOf(std::span<const float> found, std::span<const float> reference) {
  Sums sums;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double x = found[i], y = reference[i];
    if (!std::isfinite(y)) continue;
    if (!std::isfinite(x)) sums.difference = kInfinity;
    sums.product += x * y;
    sums.reference += y * y;
    sums.found += x * x;
    sums.difference += (x - y) * (x - y);
  }
  if (std::isnan(sums.difference)) sums.difference = kInfinity;
  return sums;
}

double Share(double noise, double signal) {
  constexpr double kMost = 1e6;
  return noise == 0 ? 0 : signal == 0 ? kMost : std::min(kMost, noise / signal);
}

double Cosine(std::span<const Answer> answers, std::span<const Answer> reference, size_t output) {
  double sum = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    const Sums sums = SumsOf(answers[i].outputs[output], reference[i].outputs[output]);
    const double lengths = std::sqrt(sums.found) * std::sqrt(sums.reference);
    sum += sums.difference == 0 ? 1 : std::isfinite(lengths) && lengths > 0 ? sums.product / lengths : 0;
  }
  return sum / static_cast<double>(answers.size());
}

// The worst output's `score`, where larger is better.
template <typename Fn>
double Worst(std::span<const Answer> reference, const Fn& score) {
  double worst = 1;
  for (size_t output = 0; output < reference[0].outputs.size(); ++output)
    worst = std::min(worst, score(output));
  return worst;
}

absl::Status CheckLabels(std::span<const Answer> reference, std::span<const int64_t> labels) {
  const auto classes = static_cast<int64_t>(reference[0].outputs[0].size());
  for (size_t i = 0; i < labels.size(); ++i)
    if (labels[i] < 0 || (classes > 1 && labels[i] >= classes))
      return absl::InvalidArgumentError(absl::StrCat("labels: row ", i, " has ", labels[i],
                                                     ", expected a class of the first output, 0 to ",
                                                     classes - 1));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Scorer> Scorer::Create(Metric metric, std::vector<Answer> reference,
                                      std::vector<int64_t> labels, bool absolute) {
  if (reference.empty() || reference[0].outputs.empty())
    return absl::InvalidArgumentError("samples: no rows or no outputs, expected some to compare");
  if (metric == Metric::kAuto) metric = labels.empty() ? Metric::kSnr : Metric::kAccuracy;
  if (IsByLabels(metric) && labels.empty())
    return absl::InvalidArgumentError(absl::StrCat("metric: ", std::string(NameOf(metric)),
                                                   " without labels, expected labels.txt or labels.npy"));
  if (!labels.empty() && labels.size() != reference.size())
    return absl::InvalidArgumentError(absl::StrCat("labels: ", labels.size(), " of them, expected ",
                                                   reference.size(), ", one a row of the samples"));
  RETURN_IF_ERROR(CheckLabels(reference, labels));
  Scorer scorer;
  scorer.metric_ = metric;
  scorer.reference_ = std::move(reference);
  scorer.labels_ = std::move(labels);
  scorer.absolute_ = absolute;
  scorer.baseline_.value = scorer.Value(scorer.reference_);
  if (IsByLabels(metric) && scorer.baseline_.value == 0)
    return absl::InvalidArgumentError(
        "labels: FP32 has none of them right, expected labels of these samples");
  return scorer;
}

double Scorer::Value(std::span<const Answer> answers) const {
  if (metric_ == Metric::kF1) return F1(answers, labels_);
  if (IsByLabels(metric_)) return ShareRight(answers, labels_, metric_);
  if (metric_ == Metric::kAgreement)
    return Worst(reference_, [&](size_t output) {
      const ScoredPlaces places = ComparePlaces(answers, reference_, output);
      return places.count > 0 ? static_cast<double>(places.agreeing) / static_cast<double>(places.count) : 1;
    });
  if (metric_ == Metric::kCosine)
    return Worst(reference_, [&](size_t output) { return Cosine(answers, reference_, output); });
  std::vector<size_t> rows(answers.size());
  std::iota(rows.begin(), rows.end(), size_t{0});
  constexpr double kLeast = 1e-20;  // 200 dB, where nothing differs
  return -10 * std::log10(std::max(kLeast, Noise(answers, rows)));
}

double Scorer::Drop(double value) const {
  if (metric_ == Metric::kSnr) return std::pow(10, -value / 10) / NoiseOfDrop(1);
  if (!IsByLabels(metric_)) return 1 - value;
  return (baseline_.value - value) / (absolute_ ? 1 : baseline_.value);
}

Score Scorer::Of(std::span<const Answer> answers) const {
  std::vector<size_t> rows(answers.size());
  std::iota(rows.begin(), rows.end(), size_t{0});
  const double value = Value(answers);
  return {.value = value, .drop = Drop(value), .noise = Noise(answers, rows)};
}

double Scorer::Noise(std::span<const Answer> answers, std::span<const size_t> rows) const {
  double worst = 0;
  for (size_t output = 0; output < reference_[0].outputs.size(); ++output) {
    double noise = 0, signal = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      const Sums sums = SumsOf(answers[i].outputs[output], reference_[rows[i]].outputs[output]);
      noise += sums.difference;
      signal += sums.reference;
    }
    worst = std::max(worst, Share(noise, signal));
  }
  return worst;
}

double Scorer::Budget(double max_drop) const {
  if (IsByLabels(metric_))
    return std::max(max_drop, 1.01 / (static_cast<double>(rows()) * (absolute_ ? 1 : baseline_.value)));
  if (metric_ != Metric::kAgreement) return max_drop;
  double fewest = kInfinity;
  for (size_t output = 0; output < reference_[0].outputs.size(); ++output) {
    const auto places = static_cast<double>(ComparePlaces(reference_, reference_, output).count);
    if (places > 0) fewest = std::min(fewest, places);
  }
  return std::max(max_drop, 1.01 / fewest);
}

}  // namespace hachi
