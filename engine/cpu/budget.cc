#include "engine/cpu/budget.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

namespace hachi {
namespace {

namespace fs = std::filesystem;

std::atomic<int64_t> given_memory = 0;  // a number by itself: no order with anything

// cpu.max of version 2: "QUOTA PERIOD" or "max PERIOD".
std::optional<double> QuotaOfV2(const fs::path& folder) {
  std::ifstream in(folder / "cpu.max");
  double quota = 0, period = 0;
  if (!(in >> quota >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

// Two files in version 1; a quota of -1 is none.
std::optional<double> QuotaOfV1(const fs::path& folder) {
  std::ifstream quota_in(folder / "cpu.cfs_quota_us"), period_in(folder / "cpu.cfs_period_us");
  double quota = 0, period = 0;
  if (!(quota_in >> quota) || !(period_in >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

// A number of bytes in a file; "max" is none.
std::optional<double> BytesIn(const fs::path& folder, const char* file) {
  std::ifstream in(folder / file);
  double bytes = 0;
  if (!(in >> bytes) || bytes <= 0) return std::nullopt;
  return bytes;
}

std::optional<double> MemoryOfV2(const fs::path& folder) { return BytesIn(folder, "memory.max"); }
std::optional<double> MemoryOfV1(const fs::path& folder) { return BytesIn(folder, "memory.limit_in_bytes"); }

// The smallest over `mount`/`path` and every folder between them, `mount` included.
template <typename QuotaOf>
void Walk(const fs::path& mount, const std::string& path, QuotaOf quota_of, std::optional<double>& smallest) {
  // A path outside our cgroup namespace begins with "/..": what is above the mount can't be seen.
  fs::path below = fs::path("/" + path).lexically_normal();
  while (true) {
    if (const auto quota = quota_of(mount / below.relative_path()); quota)
      smallest = std::min(smallest.value_or(*quota), *quota);
    if (!below.has_relative_path()) return;
    below = below.parent_path();
  }
}

bool HasController(std::string_view list, std::string_view wanted) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    if (list.substr(0, comma) == wanted) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

// The smallest limit of this process's cgroup and its ancestors, as the versions' readers find it in a
// folder.
template <typename V2, typename V1>
std::optional<double> SmallestLimit(const fs::path& root, const std::string& controller, V2 of_v2, V1 of_v1) {
  const fs::path mounts = root / "sys/fs/cgroup";
  std::optional<double> smallest;
  std::ifstream in(root / "proc/self/cgroup");
  // Lines "ID:CONTROLLERS:PATH"; version 2 is "0::PATH".
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      Walk(mounts, path, of_v2, smallest);
      Walk(mounts / "unified", path, of_v2, smallest);
    } else if (HasController(controllers, controller)) {
      Walk(mounts / controllers, path, of_v1, smallest);
      if (controllers != controller) Walk(mounts / controller, path, of_v1, smallest);
    }
  }
  return smallest;
}

}  // namespace

std::vector<int> AllowedCpus() {
  // The kernel refuses a mask smaller than its own; 2^16 CPUs is more than it supports.
  for (int max_cpus = 1024; max_cpus <= 1 << 16; max_cpus *= 2) {
    std::vector<cpu_set_t> mask(static_cast<size_t>(max_cpus) / CPU_SETSIZE);
    const size_t bytes = mask.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, mask.data()) != 0) continue;
    std::vector<int> cpus;
    for (int cpu = 0; cpu < max_cpus; ++cpu)
      if (CPU_ISSET_S(cpu, bytes, mask.data())) cpus.push_back(cpu);
    return cpus;
  }
  return {0};
}

std::vector<int> FirstOfCores(const std::vector<int>& cpus, const fs::path& root) {
  const auto siblings_of = [&](int cpu) {
    const fs::path topology = root / "sys/devices/system/cpu" / ("cpu" + std::to_string(cpu)) / "topology";
    // The second name is that of kernels before 5.7.
    for (const char* name : {"core_cpus_list", "thread_siblings_list"}) {
      std::ifstream in(topology / name);
      if (std::string list; std::getline(in, list) && !list.empty()) return list;
    }
    return "cpu" + std::to_string(cpu);
  };
  std::vector<int> firsts;
  std::set<std::string> cores;
  for (const int cpu : cpus)
    if (cores.insert(siblings_of(cpu)).second) firsts.push_back(cpu);
  return firsts;
}

std::optional<double> CgroupCpuQuota(const fs::path& root) {
  return SmallestLimit(root, "cpu", QuotaOfV2, QuotaOfV1);
}

std::optional<double> CgroupMemoryLimit(const fs::path& root) {
  return SmallestLimit(root, "memory", MemoryOfV2, MemoryOfV1);
}

void SetMemoryBudget(int64_t bytes) { given_memory = bytes; }

int64_t MemoryBudget() {
  if (const int64_t given = given_memory; given > 0) return given;
  const int64_t physical = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  const std::optional<double> limit = CgroupMemoryLimit();
  return limit && *limit < static_cast<double>(physical) ? static_cast<int64_t>(*limit) : physical;
}

int CpuBudgetOf(int cores, std::optional<double> quota) {
  const double limit = quota ? std::min<double>(cores, *quota) : cores;
  return std::max(1, static_cast<int>(limit));
}

int CpuBudget() {
  return CpuBudgetOf(static_cast<int>(FirstOfCores(AllowedCpus()).size()), CgroupCpuQuota());
}

std::vector<int> OwnCpus() {
  const std::vector<int> cpus = AllowedCpus();
  const std::optional<double> quota = CgroupCpuQuota();
  if (quota && *quota < static_cast<double>(cpus.size())) return {};
  return FirstOfCores(cpus);
}

}  // namespace hachi
