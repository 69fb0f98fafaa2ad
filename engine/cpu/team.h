#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <span>

#include "absl/status/status.h"

namespace hachi {

// Each thread that runs plans owns an OpenMP team; oneDNN and our own kernels share it.

// Threads of a team spin for a while behind a parallel region, in case the next one comes: by default for
// milliseconds, on cores that other threads of ours want. The OpenMP library takes a shorter time from the
// environment only, when it is loaded: runs the program anew with that, unless somebody else chose a time.
// Returns where it is set already or the system refuses. To be called at the start of main.
void LimitSpins(char** argv);

// Makes the calling thread's team `threads` strong; a new thread's is as strong as the machine. Call it at
// the top of the thread. REQUIRES: threads >= 1.
void SetTeam(int threads);

// Threads of the calling thread's team; 1 inside a parallel region.
int TeamSize();

// Pins each thread of the calling thread's team, the caller included, to one CPU: thread i to
// cpus[i % cpus.size()]; none where there are no cpus. It holds until the team's size changes. UNAVAILABLE
// when the system refuses a CPU: the other threads are pinned, and all work as before.
absl::Status PinTeam(std::span<const int> cpus);

// The CPUs of worker number `worker`, where each has a team of `threads`; none where `cpus` are none.
// REQUIRES: else there are enough of them.
inline std::span<const int> CpusOfWorker(std::span<const int> cpus, int worker, int threads) {
  if (cpus.empty()) return cpus;
  return cpus.subspan(static_cast<size_t>(worker) * static_cast<size_t>(threads),
                      static_cast<size_t>(threads));
}

// Calls fn(begin, end) on the calling thread's team so that the ranges make up [0, count) without overlap,
// and returns when all have. Ranges are contiguous, as equal as multiples of `grain` allow, and depend on
// nothing but count, grain and the team's size. Does not allocate. Runs inline where one range is enough, in
// a team of one, and inside another parallel region. REQUIRES: grain >= 1; fn does not throw.
template <typename Fn>
void ParallelFor(int64_t count, int64_t grain, const Fn& fn) {
  if (count <= 0) return;
  const int64_t grains = (count - 1) / grain + 1;
  if (grains == 1 || TeamSize() == 1) {
    fn(int64_t{0}, count);
    return;
  }
  // Always the whole team: a region with fewer threads would end the surplus ones, and their pins with them.
#pragma omp parallel
  {
    const int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    const int64_t begin = grains * thread / threads * grain;
    const int64_t end = std::min(count, grains * (thread + 1) / threads * grain);
    if (begin < end) fn(begin, end);
  }
}

// Calls fn(i) for each i in [0, count) on the calling thread's team, whoever is free the next one, and
// returns when all have returned. For tasks of unlike length, each worth waking the team for. What one throws
// is thrown again here, when the others are done.
template <typename Fn>
void ParallelForEach(int64_t count, const Fn& fn) {
  std::atomic<int64_t> next = 0;
  std::atomic<bool> has_thrown = false;
  std::exception_ptr thrown;
#pragma omp parallel if (count > 1)
  for (int64_t i = next++; i < count; i = next++) {
    try {
      fn(i);
    } catch (...) {
      if (!has_thrown.exchange(true)) thrown = std::current_exception();
    }
  }
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace hachi
