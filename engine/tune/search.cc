#include "engine/tune/search.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/time/time.h"
#include "engine/base/status_macros.h"
#include "engine/cpu/isa.h"

namespace hachi {
namespace {

constexpr double kTighten = 4;  // the noise that is allowed, where a candidate below it was not good

// Neighbours, first to end in the search's layers, that are out of INT8.
struct Group {
  size_t first, end;
  double noise = 0;  // with it in INT8, when that was last measured

  size_t size() const { return end - first; }
};

class WorstLayers {
 public:
  WorstLayers(const Candidate& start, LayerSearch& search)
      : start_(start), search_(search), layers_(search.layers()) {}

  absl::StatusOr<TakenOut> Run() {
    for (double limit = search_.likely_noise();; limit /= kTighten) {
      RETURN_IF_ERROR(PutBackBelow(limit));
      ASSIGN_OR_RETURN(const bool good, search_.IsGood(candidate_));
      if (good) RETURN_IF_ERROR(PutBackUnneeded());
      if (good || out_.size() == layers_.size()) return Result(good);
      if (!search_.is_hurried()) continue;
      TakeAllOut();
      ASSIGN_OR_RETURN(const bool all_out_is_good, search_.IsGood(candidate_));
      return Result(all_out_is_good);
    }
  }

 private:
  void TakeAllOut() {
    candidate_ = start_;
    for (const Layer& layer : layers_) candidate_.layers[layer.name] = HigherPrecision();
    open_ = {{0, layers_.size()}};
    out_.clear();
    for (size_t i = 0; i < layers_.size(); ++i) out_.push_back({i, i + 1});
  }

  // Puts groups back while noise stays below the limit. Leaves single layers, and what there was no time for.
  absl::Status PutBackBelow(double limit) {
    TakeAllOut();
    out_.clear();
    open_.clear();
    Halve({0, layers_.size()});
    while (!open_.empty() && !search_.is_hurried()) {
      std::ranges::sort(open_, std::greater(), [&](const Group& group) { return SavedBy(group); });
      std::vector<Group> tried(open_.begin(),
                               open_.begin() + static_cast<int64_t>(std::min<size_t>(2, open_.size())));
      open_.erase(open_.begin(), open_.begin() + static_cast<int64_t>(tried.size()));
      RETURN_IF_ERROR(Measure(tried));
      std::ranges::sort(tried, {}, &Group::noise);
      // The other was measured beside this one: whether both may be back is another question.
      for (size_t i = 0; i < tried.size(); ++i) {
        if (tried[i].noise > limit)
          Halve(tried[i]);
        else if (i == 0)
          candidate_ = With(tried[i]);
        else
          open_.push_back(tried[i]);
      }
    }
    for (const Group& group : open_)
      for (size_t i = group.first; i < group.end; ++i) out_.push_back({i, i + 1, group.noise});
    return absl::OkStatus();
  }

  // A single layer that can't be halved stays out.
  void Halve(const Group& group) {
    if (group.size() <= 1) {
      if (group.size() == 1) out_.push_back(group);
      return;
    }
    const size_t middle = group.first + group.size() / 2;
    open_.push_back({group.first, middle, group.noise});
    open_.push_back({middle, group.end, group.noise});
  }

  absl::Status Measure(std::vector<Group>& groups) {
    std::vector<Candidate> candidates;
    for (const Group& group : groups) candidates.push_back(With(group));
    ASSIGN_OR_RETURN(const std::vector<double> noises, search_.NoiseOf(candidates));
    for (size_t i = 0; i < groups.size(); ++i) groups[i].noise = noises[i];
    return absl::OkStatus();
  }

  // The candidate with that group in INT8.
  Candidate With(const Group& group) const {
    Candidate candidate = candidate_;
    for (size_t i = group.first; i < group.end; ++i) candidate.layers.erase(layers_[i].name);
    return candidate;
  }

  absl::Duration SavedBy(const Group& group) const {
    absl::Duration saved;
    for (size_t i = group.first; i < group.end; ++i) saved += layers_[i].cost;
    return saved;
  }

  absl::Status PutBackUnneeded() {
    std::ranges::sort(out_, {}, &Group::noise);
    for (size_t i = 0; i < out_.size() && out_.size() > 1 && !search_.is_hurried();) {
      const Candidate fewer = With(out_[i]);
      ASSIGN_OR_RETURN(const bool good, search_.IsGood(fewer));
      if (!good) {
        ++i;
        continue;
      }
      candidate_ = fewer;
      out_.erase(out_.begin() + static_cast<int64_t>(i));
    }
    return absl::OkStatus();
  }

  TakenOut Result(bool good) {
    std::ranges::stable_sort(out_, std::greater(), &Group::noise);
    TakenOut result{.candidate = candidate_, .layers = {}, .good = good};
    for (const Group& layer : out_) result.layers.push_back(layers_[layer.first].name);
    return result;
  }

  const Candidate& start_;
  LayerSearch& search_;
  const std::vector<Layer>& layers_;
  Candidate candidate_;
  std::vector<Group> open_;  // out, and perhaps to be put back
  std::vector<Group> out_;   // single layers that stay out
};

}  // namespace

LayerChoice HigherPrecision() {
  return {.precision = HasBf16() ? Precision::kBf16 : Precision::kFp32, .range = RangeMethod::kAuto};
}

absl::StatusOr<TakenOut> TakeOutWorstLayers(const Candidate& start, LayerSearch& search) {
  return WorstLayers(start, search).Run();
}

}  // namespace hachi
