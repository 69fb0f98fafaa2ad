#include "server/batching/batch_policy.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "server/batching/count_prefix.h"

namespace hachi::server {
namespace {

// How many expected gaps after the newest request the next is given up. Guessed: of random arrivals, one in
// seven comes later.
constexpr int kGapsOfPatience = 2;

// The wide team has to answer in so much of a worker's time: it takes every core for it. Guessed.
constexpr double kWorthTheMachine = 0.8;

// The latency that `rows` and the next to come save together if the batch waits for it, compared with its
// being run by whoever is free first. Negative: they lose.
absl::Duration GainOfHolding(int64_t rows, const Outlook& outlook) {
  const RunEstimates& runs = outlook.runs;
  absl::Duration next_worker = runs.At(rows);
  if (!outlook.others.empty()) next_worker = std::min(next_worker, outlook.others.front());
  const absl::Duration wait_of_next = std::max(next_worker - outlook.arrival_gap, absl::ZeroDuration());
  const absl::Duration apart = runs.At(rows) * rows + wait_of_next + runs.At(1);
  const absl::Duration together = (outlook.arrival_gap + runs.At(rows + 1)) * rows + runs.At(rows + 1);
  return apart - together;
}

int64_t RowsOf(std::span<const Waiting> queue) {
  return std::transform_reduce(queue.begin(), queue.end(), int64_t{0}, std::plus<>(),
                               [](const Waiting& request) { return request.rows; });
}

// Until all other workers are free.
absl::Duration UntilAllFree(const Outlook& outlook) {
  return outlook.others.empty() ? absl::ZeroDuration() : outlook.others.back();
}

}  // namespace

BatchDecision BatchPolicy::Decide(std::span<const Waiting> queue, absl::Time now,
                                  const Outlook& outlook) const {
  if (queue.empty()) return {};
  const std::optional<int64_t> wide_share = WideShare(queue, outlook);
  const int64_t share = wide_share ? *wide_share : Share(RowsOf(queue), outlook);
  int64_t rows = 0;
  size_t count = 0;
  absl::Time nearest_deadline = absl::InfiniteFuture();
  for (; count < queue.size() && rows < share && rows + queue[count].rows <= max_rows; ++count) {
    rows += queue[count].rows;
    nearest_deadline = std::min(nearest_deadline, queue[count].deadline);
  }
  if (wide_share) {
    const absl::Duration until_free = UntilAllFree(outlook);
    if (until_free <= absl::ZeroDuration()) return {count, Team::kWide};
    if (now + until_free + outlook.wide_runs->At(rows) < nearest_deadline)
      return {.close_requests = 0, .hold_until = now + until_free};
  }
  if (rows == max_rows || (count < queue.size() && rows < share))
    return {count, Team::kWorker, BatchReason::kFull};
  if (count < queue.size() || GainOfHolding(rows, outlook) <= absl::ZeroDuration())
    return {count, Team::kWorker, BatchReason::kWorkerFree};

  const absl::Time delay_over = std::min(queue.front().enqueued + max_delay,
                                         queue.back().enqueued + outlook.arrival_gap * kGapsOfPatience);
  const absl::Time deadline_near = nearest_deadline - outlook.runs.At(rows);
  if (deadline_near <= now) return {count, Team::kWorker, BatchReason::kDeadlineNear};
  if (delay_over <= now) return {count, Team::kWorker, BatchReason::kDelayOver};
  return {.close_requests = 0, .hold_until = std::min(delay_over, deadline_near)};
}

int64_t BatchPolicy::Share(int64_t rows, const Outlook& outlook) const {
  const RunEstimates& runs = outlook.runs;
  const auto workers = static_cast<int64_t>(outlook.others.size()) + 1;
  const auto others_need_longer = [&](int64_t own) {
    int64_t rest = rows - own;
    for (absl::Duration until_free : outlook.others) {
      if (rest <= 0) break;
      rest -= runs.RowsWithin(runs.At(own) - until_free, max_rows);
    }
    return rest > 0;
  };
  const int64_t most = 1 + CountPrefix(std::min(rows, max_rows) - 1, others_need_longer);

  // The rows that are this worker's part, in batches of n one after the other, are answered after half of
  // (part / n + 1) runs on average. Sizes are those that plans have.
  const double part = static_cast<double>(std::max(most, rows / workers));
  int64_t best = most;
  absl::Duration best_latency = runs.At(most) * (part / static_cast<double>(most) + 1);
  for (int64_t n = 1; n < most; n *= 2) {
    const absl::Duration latency = runs.At(n) * (part / static_cast<double>(n) + 1);
    if (latency < best_latency) {
      best = n;
      best_latency = latency;
    }
  }
  return best;
}

std::optional<int64_t> BatchPolicy::WideShare(std::span<const Waiting> queue, const Outlook& outlook) const {
  if (outlook.wide_runs == nullptr || queue.size() > outlook.others.size()) return std::nullopt;
  const RunEstimates& wide = *outlook.wide_runs;
  absl::Duration by_workers, one_by_one, end;  // sums over the requests, each of whom has a worker of its own
  for (const Waiting& request : queue) {
    by_workers += outlook.runs.At(request.rows);
    end += wide.At(request.rows);
    one_by_one += end;
  }
  const auto requests = static_cast<int64_t>(queue.size());
  const int64_t rows = RowsOf(queue);
  const absl::Duration together = rows <= max_rows ? wide.At(rows) * requests : absl::InfiniteDuration();
  const int64_t share = together < one_by_one ? rows : queue.front().rows;

  // Whoever comes for another model during the run would have found a worker: he waits for half of it. Where
  // company came during the last run, it will again, and wait for all of this one.
  const absl::Duration run = wide.At(share);
  absl::Duration others_wait = run * (absl::ToDoubleSeconds(run) / 2 * outlook.other_arrivals_per_s);
  if (queue.front().enqueued < outlook.wide_ended) others_wait += run * requests;
  const absl::Duration by_wide =
      std::min(together, one_by_one) + UntilAllFree(outlook) * requests + others_wait;
  const bool is_tried = outlook.wide_is_tried && UntilAllFree(outlook) <= absl::ZeroDuration();
  if (!is_tried && by_wide >= by_workers * kWorthTheMachine) return std::nullopt;
  return share;
}

}  // namespace hachi::server
