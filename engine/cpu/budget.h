#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace hachi {

// Numbers of the CPUs that the calling thread may run on, ascending.
std::vector<int> AllowedCpus();

// The smallest CPU quota, in CPUs, of this process's cgroup and its ancestors, versions 1 and 2; nothing when
// none is set. `root` stands for "/": proc/self/cgroup and sys/fs/cgroup are read below it. In a container
// whose own path is not visible there, what is mounted is its own cgroup.
std::optional<double> CgroupCpuQuota(const std::filesystem::path& root = "/");

// Likewise the smallest limit on its memory, in bytes.
std::optional<double> CgroupMemoryLimit(const std::filesystem::path& root = "/");

// Bytes that this process may use: the machine's memory, or a smaller limit of its cgroups.
int64_t MemoryBudget();

// For tests: what MemoryBudget says from now on, 0 the truth again.
void SetMemoryBudget(int64_t bytes);

// CPUs that this process may keep busy: the smaller of `allowed_cpus` and the quota rounded down, at least 1.
int CpuBudgetOf(int allowed_cpus, std::optional<double> quota);

// The budget of this process, from the calling thread's affinity. REQUIRES: the thread has not been pinned.
int CpuBudget();

// The CPUs that threads may be pinned to: the allowed ones where the budget spans them all, else none. CPUs
// that a quota makes us share with others are the kernel's to hand out. REQUIRES: as CpuBudget.
std::vector<int> OwnCpus();

}  // namespace hachi
