#include "engine/cpu/budget.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace hachi {
namespace {

namespace fs = std::filesystem;

// A folder that stands for "/", removed at the end.
class FakeRoot {
 public:
  FakeRoot() {
    std::string name = (fs::path(testing::TempDir()) / "budget.XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~FakeRoot() { fs::remove_all(path_); }

  FakeRoot& With(const fs::path& file, std::string_view content) {
    fs::create_directories((path_ / file).parent_path());
    std::ofstream(path_ / file) << content;
    return *this;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TEST(BudgetTest, QuotaIsRoundedDownAndNeverBelowOne) {
  EXPECT_EQ(CpuBudgetOf(24, 3.9), 3);
  EXPECT_EQ(CpuBudgetOf(24, 0.5), 1);
  EXPECT_EQ(CpuBudgetOf(2, 3.0), 2);
  EXPECT_EQ(CpuBudgetOf(24, std::nullopt), 24);
  EXPECT_EQ(CpuBudgetOf(24, 1e300), 24);
}

TEST(BudgetTest, SecondHardwareThreadsOfACoreAreNotCounted) {
  FakeRoot root;
  for (int cpu = 0; cpu < 4; ++cpu)
    root.With("sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/core_cpus_list",
              cpu % 2 == 0 ? "0,2\n" : "1,3\n");
  EXPECT_EQ(FirstOfCores({0, 1, 2, 3}, root.path()), (std::vector{0, 1}));
  EXPECT_EQ(FirstOfCores({1, 2, 3}, root.path()),
            (std::vector{1, 2}));  // one thread of one core, both of another
}

TEST(BudgetTest, OldKernelsNameTheSameCoresOtherwise) {
  FakeRoot root;
  for (int cpu = 0; cpu < 4; ++cpu)
    root.With("sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
              cpu < 2 ? "0-1\n" : "2-3\n");
  EXPECT_EQ(FirstOfCores({0, 1, 2, 3}, root.path()), (std::vector{0, 2}));
}

TEST(BudgetTest, CpusOfUnknownCoresAreCores) {
  EXPECT_EQ(FirstOfCores({0, 3, 5}, FakeRoot().path()), (std::vector{0, 3, 5}));
}

TEST(BudgetTest, SmallestQuotaOfTheVersion2HierarchyHolds) {
  FakeRoot root;
  root.With("proc/self/cgroup", "0::/pods/pod1/main\n")
      .With("sys/fs/cgroup/pods/cpu.max", "400000 100000\n")
      .With("sys/fs/cgroup/pods/pod1/cpu.max", "250000 100000\n")
      .With("sys/fs/cgroup/pods/pod1/main/cpu.max", "max 100000\n");
  EXPECT_EQ(CgroupCpuQuota(root.path()), 2.5);
}

TEST(BudgetTest, PrivateNamespaceReadsTheMountItself) {
  FakeRoot root;
  root.With("proc/self/cgroup", "0::/\n").With("sys/fs/cgroup/cpu.max", "150000 50000\n");
  EXPECT_EQ(CgroupCpuQuota(root.path()), 3.0);
}

TEST(BudgetTest, PathOutsideTheNamespaceStaysBelowTheMount) {
  FakeRoot root;
  root.With("proc/self/cgroup", "0::/../../other\n")
      .With("sys/cpu.max", "100000 100000\n")
      .With("sys/fs/cgroup/cpu.max", "500000 100000\n");
  EXPECT_EQ(CgroupCpuQuota(root.path()), 5.0);
}

TEST(BudgetTest, Version1QuotaIsFoundThroughItsControllersFolder) {
  FakeRoot root;
  root.With("proc/self/cgroup", "9:cpuset:/x\n3:cpu,cpuacct:/docker/abc\n0::/\n")
      .With("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "600000\n")
      .With("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n")
      .With("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "-1\n")
      .With("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CgroupCpuQuota(root.path()), 6.0);
}

TEST(BudgetTest, Version1PathThatIsNotVisibleReadsTheMount) {
  FakeRoot root;
  root.With("proc/self/cgroup", "3:cpu,cpuacct:/docker/abc\n")
      .With("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n")
      .With("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CgroupCpuQuota(root.path()), 2.0);
}

TEST(BudgetTest, SmallestMemoryLimitOfEitherVersionHolds) {
  FakeRoot root;
  EXPECT_EQ(CgroupMemoryLimit(root.path()), std::nullopt);
  root.With("proc/self/cgroup", "4:memory:/docker/abc\n0::/pod/main\n")
      .With("sys/fs/cgroup/pod/main/memory.max", "max\n")
      .With("sys/fs/cgroup/pod/memory.max", "2000000000\n")
      .With("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "3000000000\n");
  EXPECT_EQ(CgroupMemoryLimit(root.path()), 2e9);
  root.With("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000000\n");
  EXPECT_EQ(CgroupMemoryLimit(root.path()), 1e9);
  EXPECT_GT(MemoryBudget(), 0);
}

TEST(BudgetTest, NoQuotaNoFilesAndNonsenseAreNone) {
  FakeRoot root;
  EXPECT_EQ(CgroupCpuQuota(root.path()), std::nullopt);
  root.With("proc/self/cgroup", "nonsense\n::\n0::/a\n").With("sys/fs/cgroup/a/cpu.max", "1000\n");
  EXPECT_EQ(CgroupCpuQuota(root.path()), std::nullopt);
  root.With("sys/fs/cgroup/a/cpu.max", "100000 0\n");
  EXPECT_EQ(CgroupCpuQuota(root.path()), std::nullopt);
}

TEST(BudgetTest, BudgetOfThisProcessIsWithinItsAffinity) {
  ASSERT_FALSE(AllowedCpus().empty());
  EXPECT_GE(CpuBudget(), 1);
  EXPECT_LE(CpuBudget(), static_cast<int>(AllowedCpus().size()));
}

}  // namespace
}  // namespace hachi
