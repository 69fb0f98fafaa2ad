#include "server/shadow/row_shadow.h"

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/log.h"
#include "engine/cpu/team.h"
#include "server/record/copied_row.h"
#include "server/shadow/agreement.h"

namespace hachi::server {
namespace {

// Of rows that wait, but for a single larger one. Guessed.
constexpr size_t kMostWaitingBytes = size_t{32} << 20;

// How often the thread looks for rows where it was not woken: workers wake it without a lock, so that it may
// miss that.
constexpr absl::Duration kLookAgain = absl::Milliseconds(50);

// The gauges are set anew every so many rows: to sum up the tensors' histograms takes about as long as one.
constexpr int64_t kRowsAPublish = 32;

absl::Duration ThreadCpuTime() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

// Any bits from any number, as splitmix64 has them: a row is sampled or not whatever rhythm clients have.
uint64_t Mixed(uint64_t bits) {
  bits += 0x9E3779B97F4A7C15;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB;
  return bits ^ (bits >> 31);
}

// Runs where nobody else wants the CPU, almost: a thread that is merely nice is given a turn whenever it
// wakes, which costs a worker on that CPU more than the thread's share.
void TakeLowestPriority() {
  const sched_param none = {};
  sched_setscheduler(/*pid=*/0, SCHED_IDLE, &none);  // of this thread; anybody may
}

}  // namespace

RowShadow::RowShadow(Options options) : options_(std::move(options)), thread_([this] { RunRows(); }) {}

RowShadow::~RowShadow() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
  while (Take() != nullptr) {
  }
}

bool RowShadow::IsSampled(uint64_t row) const {
  return std::ldexp(static_cast<double>(Mixed(options_.seed + row)), -64) < options_.rate;
}

void RowShadow::Observe(std::span<const Rows> requests) {
  for (const Rows& request : requests) {
    const uint64_t first = seen_.fetch_add(static_cast<uint64_t>(request.count), std::memory_order_relaxed);
    for (int64_t row = 0; row < request.count; ++row) {
      if (!IsSampled(first + static_cast<uint64_t>(row))) continue;
      const bool is_taken = HasRoom() && Put(std::make_unique<const Sampled>(Copy(request, row)));
      if (!is_taken) options_.metrics->rows_dropped_total.Increment();
    }
  }
}

RowShadow::Sampled RowShadow::Copy(const Rows& request, int64_t row) const {
  const Signature& signature = options_.model->signature();
  Sampled sampled{.inputs = CopyOfInputs(signature, request, row),
                  .outputs = CopyOfOutputs(signature, request, row),
                  .shapes = ranges_are_known_.load(std::memory_order_relaxed) ? nullptr : request.shapes};
  for (const auto& [name, tensor] : sampled.inputs) sampled.bytes += tensor.bytes().size();
  for (const Tensor& tensor : sampled.outputs) sampled.bytes += tensor.bytes().size();
  return sampled;
}

bool RowShadow::HasRoom() const {
  return std::ranges::any_of(
      waiting_, [](const auto& place) { return place.load(std::memory_order_relaxed) == nullptr; });
}

bool RowShadow::Put(std::unique_ptr<const Sampled> sampled) {
  const size_t bytes = sampled->bytes, others = waiting_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  for (std::atomic<const Sampled*>& place : waiting_) {
    const Sampled* none = nullptr;
    if (others > 0 && others + bytes > kMostWaitingBytes) break;
    if (!place.compare_exchange_strong(none, sampled.get(), std::memory_order_release)) continue;
    static_cast<void>(sampled.release());  // whoever takes it deletes it
    changed_.NotifyOne();
    return true;
  }
  waiting_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  return false;
}

std::unique_ptr<const RowShadow::Sampled> RowShadow::Take() {
  for (size_t i = 0; i < kMostWaiting; ++i) {
    std::atomic<const Sampled*>& place = waiting_[next_++ % kMostWaiting];
    if (std::unique_ptr<const Sampled> taken(place.exchange(nullptr, std::memory_order_acquire)); taken) {
      waiting_bytes_.fetch_sub(taken->bytes, std::memory_order_relaxed);
      return taken;
    }
  }
  return nullptr;
}

void RowShadow::RunRows() {
  TakeLowestPriority();
  SetTeam(1);
  while (true) {
    const std::unique_ptr<const Sampled> sampled = Take();
    if (sampled == nullptr) {
      if (!WaitFor(kLookAgain)) return;
      continue;
    }
    const absl::Duration before = ThreadCpuTime();
    Compare(*sampled);
    const absl::Duration used = ThreadCpuTime() - before;
    options_.metrics->cpu_seconds_total.Increment(absl::ToDoubleSeconds(used));
    if (!Rest(used)) return;
  }
}

void RowShadow::Compare(const Sampled& sampled) {
  const auto fp32 = options_.shadow->Run(sampled.inputs);
  if (!fp32.ok()) {
    options_.metrics->rows_failed_total.Increment();
    if (!std::exchange(failed_, true))
      LogWarning(absl::StrCat(options_.what, ": shadow: ", std::string(fp32.status().message())));
    return;
  }
  if (!ranges_are_known_.load(std::memory_order_relaxed)) FindRanges(sampled.shapes.get());
  const Agreement agreement = server::Compare(sampled.outputs, *fp32);
  options_.metrics->rows_total.Increment();
  options_.metrics->agreeing_places_total.Increment(static_cast<double>(agreement.agreeing));
  options_.metrics->differing_places_total.Increment(
      static_cast<double>(agreement.places - agreement.agreeing));
  options_.metrics->error_ratio.Observe(agreement.error);
  if (++compared_ % kRowsAPublish == 0) Publish();
}

void RowShadow::FindRanges(const RowShapes* shapes) {
  const auto steps = options_.model->Steps(shapes, /*rows=*/1);
  if (!steps.ok()) return;  // the plan may have left meanwhile: the next row's is there
  ranges_ = RangesOf(*steps);
  ranges_are_known_.store(true, std::memory_order_relaxed);
}

void RowShadow::Publish() {
  for (const auto& [input, index] : options_.shadow->Drifts()) options_.metrics->SetDrift(input, index);
  for (const auto& [tensor, use] : options_.shadow->Uses(ranges_))
    options_.metrics->SetUse(tensor, use.clipped, use.used);
}

bool RowShadow::WaitFor(absl::Duration at_most) {
  MutexLock lock(mutex_);
  if (!stopping_ && at_most > absl::ZeroDuration())
    changed_.WaitFor(mutex_, absl::ToChronoNanoseconds(at_most));
  return !stopping_;
}

bool RowShadow::Rest(absl::Duration used) {
  const absl::Time until = absl::Now() + used * (1 / options_.cpu - 1);
  bool goes_on = WaitFor(absl::ZeroDuration());
  while (goes_on && absl::Now() < until) goes_on = WaitFor(until - absl::Now());
  return goes_on;
}

}  // namespace hachi::server
