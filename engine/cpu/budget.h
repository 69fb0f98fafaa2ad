#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace hachi {

// Numbers of the CPUs that the calling thread may run on, ascending.
std::vector<int> AllowedCpus();

// The first of `cpus` on each physical core that they are on, in their order: what else they hold are further
// hardware threads of the same cores. `root` stands for "/": sys/devices/system/cpu is read below it; a CPU
// that it says nothing of is a core. REQUIRES: they ascend.
std::vector<int> FirstOfCores(const std::vector<int>& cpus, const std::filesystem::path& root = "/");

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

// Cores that this process may keep busy: the smaller of `cores` and the quota rounded down, at least 1. A
// second thread that computes on a core takes from the first what it gets: it is left to the threads that
// talk to clients.
int CpuBudgetOf(int cores, std::optional<double> quota);

// The budget of this process, from the physical cores of the calling thread's affinity. REQUIRES: the thread
// has not been pinned.
int CpuBudget();

// The CPUs that threads may be pinned to: the first of each allowed core, or none where a quota is smaller
// than all that is allowed. CPUs that it makes us share with others are the kernel's to hand out. REQUIRES:
// as CpuBudget.
std::vector<int> OwnCpus();

}  // namespace hachi
