#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace hachi {

// How well a model's answers are those that were wanted: by labels, or by what FP32 answers.
enum class Metric {
  kAuto,       // accuracy where there are labels, else SNR
  kAccuracy,   // share of rows whose largest score is the label's
  kTop5,       // share of rows whose label is among the five largest scores
  kF1,         // mean over the labels' classes of the harmonic mean of precision and recall
  kAgreement,  // share of places whose largest score is where FP32 has it
  kCosine,     // mean over rows of the cosine with FP32's answer
  kSnr,        // decibels of FP32's power over the difference's
};

inline constexpr std::array<std::pair<Metric, std::string_view>, 7> kMetricNames = {
    {{Metric::kAuto, "auto"},
     {Metric::kAccuracy, "accuracy"},
     {Metric::kTop5, "top5"},
     {Metric::kF1, "f1"},
     {Metric::kAgreement, "agreement"},
     {Metric::kCosine, "cosine"},
     {Metric::kSnr, "snr"}}};

constexpr std::string_view NameOf(Metric metric) { return kMetricNames[static_cast<size_t>(metric)].second; }

constexpr std::optional<Metric> ParseMetric(std::string_view name) {
  for (const auto& [metric, each] : kMetricNames)
    if (each == name) return metric;
  return std::nullopt;
}

// What a guard does where INT8 loses more than it may.
enum class OnGuardFailure { kFallback, kRefuse, kFp32 };

// The accuracy guard of a load: model.yaml's `guard`, and what lies beside the model.
struct GuardOptions {
  std::filesystem::path golden;  // samples, as SampleSet reads them, and perhaps labels; empty: no guard
  double max_drop = 0.01;        // of FP32's score, relative; see Drop in engine/tune/score.h
  Metric metric = Metric::kAuto;
  OnGuardFailure on_failure = OnGuardFailure::kFallback;
  absl::Duration time = absl::Seconds(30);  // for finding the layers; then they are taken a group at a time
  std::filesystem::path cache;  // folder that remembers what was found, made when missing; empty: none
};

enum class GuardResult { kPassed, kFellBack, kFp32, kRefused };

inline constexpr std::array<std::pair<GuardResult, std::string_view>, 4> kGuardResultNames = {
    {{GuardResult::kPassed, "passed"},
     {GuardResult::kFellBack, "fell_back"},
     {GuardResult::kFp32, "fp32"},
     {GuardResult::kRefused, "refused"}}};

constexpr std::string_view NameOf(GuardResult result) {
  return kGuardResultNames[static_cast<size_t>(result)].second;
}

// What a guard found.
struct GuardReport {
  GuardResult result = GuardResult::kPassed;
  Metric metric = Metric::kSnr;     // never kAuto
  double drop = 0;                  // of INT8 as it was asked for
  double served_drop = 0;           // of what is served; as `drop` where it is refused
  std::vector<std::string> layers;  // that lose most and run in a higher precision, or would: the worst first
  bool from_cache = false;          // found by an earlier load
};

// "INT8 loses 35.20 % (snr), expected at most 1.00 %; most in 12 layers: 'conv3', 'fc', ...", for logs and
// messages: the first ten of them.
std::string ToText(const GuardReport& report, double max_drop);

}  // namespace hachi
