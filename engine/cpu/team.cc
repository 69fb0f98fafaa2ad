#include "engine/cpu/team.h"

#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"

namespace hachi {
namespace {

// 0, or the error number.
int PinCallingThread(int cpu) {
  if (cpu < 0) return EINVAL;
  std::vector<cpu_set_t> mask(static_cast<size_t>(cpu) / CPU_SETSIZE + 1);
  const size_t bytes = mask.size() * sizeof(cpu_set_t);
  CPU_SET_S(cpu, bytes, mask.data());
  return sched_setaffinity(0, bytes, mask.data()) == 0 ? 0 : errno;
}

// Rounds of a wait; 0.1 to 0.25 ms on today's CPUs: longer than what a run does between two regions, shorter
// than what anybody notices.
constexpr char kSpins[] = "5000";

}  // namespace

void LimitSpins(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  if (setenv("GOMP_SPINCOUNT", kSpins, /*overwrite=*/0) != 0) return;
  // By its own name, which the system calls the process by.
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) execv(program.c_str(), argv);
  execv("/proc/self/exe", argv);  // its file may have been replaced
}

void SetTeam(int threads) { omp_set_num_threads(threads); }

int TeamSize() { return omp_in_parallel() ? 1 : omp_get_max_threads(); }

absl::Status PinTeam(std::span<const int> cpus) {
  if (cpus.empty()) return absl::OkStatus();
  // The last failure wins; which one does not matter.
  std::atomic<int> refused_cpu{-1}, error{0};
#pragma omp parallel
  {
    const int cpu = cpus[static_cast<size_t>(omp_get_thread_num()) % cpus.size()];
    if (const int code = PinCallingThread(cpu); code != 0) {
      refused_cpu = cpu;
      error = code;
    }
  }
  if (error == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("a thread cannot be pinned to CPU ", refused_cpu.load(), ": ", std::strerror(error)));
}

}  // namespace hachi
