#include "machine/limits.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string_view>

#include "base/test_util.h"

namespace fptq {
namespace {

constexpr int64_t kMegabyte = 1 << 20;

// A root with /proc and /sys of a machine.
class Machine {
 public:
  // More than any cgroup of these tests allows.
  Machine() { Write("proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n"); }

  void Write(std::string_view file, std::string_view content) const {
    std::filesystem::create_directories((folder_ / file).parent_path());
    folder_.Write(file, content);
  }
  int64_t Memory() const { return AvailableMemory(folder_.path()); }
  int Cores() const { return UsableCores(folder_.path()); }

 private:
  TempFolder folder_;
};

TEST(AvailableMemoryTest, IsWhatTheKernelSaysWithoutCgroups) {
  const Machine machine;
  EXPECT_EQ(machine.Memory(), int64_t{8000000} * 1024);
  machine.Write("proc/meminfo", "MemTotal: 9000000 kB\n");
  EXPECT_EQ(machine.Memory(), std::numeric_limits<int64_t>::max());
}

TEST(AvailableMemoryTest, OfThisMachineIsPlausible) {
  EXPECT_GT(AvailableMemory(), kMegabyte);
  EXPECT_LT(AvailableMemory(), std::numeric_limits<int64_t>::max());
}

TEST(AvailableMemoryTest, IsTheLeastThatCgroupsOfTheUnifiedHierarchyLeave) {
  const Machine machine;
  machine.Write("proc/self/cgroup", "0::/pod/inner\n");
  machine.Write("sys/fs/cgroup/pod/inner/memory.max", "max\n");
  machine.Write("sys/fs/cgroup/pod/inner/memory.current", "999\n");
  EXPECT_EQ(machine.Memory(), int64_t{8000000} * 1024);
  // The one above has a limit: the page cache in its usage can be taken back.
  machine.Write("sys/fs/cgroup/pod/memory.max", "1048576000\n");
  machine.Write("sys/fs/cgroup/pod/memory.current", "734003200\n");
  EXPECT_EQ(machine.Memory(), 300 * kMegabyte);
  machine.Write("sys/fs/cgroup/pod/memory.stat",
                "anon 524288000\nfile 209715200\ninactive_file 104857600\nactive_file 52428800\n");
  EXPECT_EQ(machine.Memory(), 450 * kMegabyte);
  // Beyond memory.high a process is made to wait rather than killed.
  machine.Write("sys/fs/cgroup/pod/memory.high", "943718400\n");
  EXPECT_EQ(machine.Memory(), 350 * kMegabyte);
  machine.Write("sys/fs/cgroup/pod/memory.max", "104857600\n");  // lowered below the usage
  EXPECT_EQ(machine.Memory(), 0);
}

TEST(AvailableMemoryTest, IsTheLeastThatCgroupsOfTheFirstVersionLeave) {
  const Machine machine;
  machine.Write("proc/self/cgroup",
                "9:name=systemd:/other\n4:memory:/a/b\n2:cpu,cpuacct:/a\n0::/\n");
  machine.Write("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
  machine.Write("sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "4096\n");
  EXPECT_EQ(machine.Memory(), int64_t{8000000} * 1024);
  machine.Write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "524288000\n");
  machine.Write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "314572800\n");
  machine.Write("sys/fs/cgroup/memory/a/memory.stat",
                "inactive_file 1\ntotal_inactive_file 52428800\ntotal_active_file 52428800\n");
  EXPECT_EQ(machine.Memory(), 300 * kMegabyte);
}

// A container that sees its cgroup as the mount, and the host's path of it.
TEST(AvailableMemoryTest, FindsTheLimitWhereThePathIsTheHosts) {
  const Machine first;
  first.Write("proc/self/cgroup", "4:memory:/docker/0123456789abcdef\n");
  first.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600\n");
  EXPECT_EQ(first.Memory(), 100 * kMegabyte);
  const Machine second;
  second.Write("proc/self/cgroup", "0::/../other\n");
  second.Write("sys/fs/cgroup/memory.max", "104857600\n");
  second.Write("sys/fs/cgroup/other/memory.max", "4096\n");  // of the same name, not ours
  EXPECT_EQ(second.Memory(), 100 * kMegabyte);
}

TEST(AvailableMemoryTest, TakesNothingFromFilesThatSayNothing) {
  const Machine machine;
  machine.Write("proc/self/cgroup", "\n:\n4:memory\n0::\n::::\n");
  machine.Write("sys/fs/cgroup/memory.max", "many\n");
  machine.Write("sys/fs/cgroup/memory.high", "");
  EXPECT_EQ(machine.Memory(), int64_t{8000000} * 1024);
}

TEST(UsableCoresTest, AreWithinTheMachine) {
  EXPECT_GE(UsableCores(), 1);
  EXPECT_LE(UsableCores(), sysconf(_SC_NPROCESSORS_CONF));
}

TEST(UsableCoresTest, AreNoMoreThanTheQuotaRoundedUp) {
  const Machine machine;
  const int cores = machine.Cores();  // of the affinity mask: no topology says that two are one
  machine.Write("proc/self/cgroup", "0::/pod/inner\n");
  machine.Write("sys/fs/cgroup/pod/inner/cpu.max", "max 100000\n");
  EXPECT_EQ(machine.Cores(), cores);
  machine.Write("sys/fs/cgroup/pod/cpu.max", "150000 100000\n");
  EXPECT_EQ(machine.Cores(), std::min(cores, 2));
  machine.Write("sys/fs/cgroup/pod/inner/cpu.max", "5000 100000\n");
  EXPECT_EQ(machine.Cores(), 1);
}

TEST(UsableCoresTest, AreNoMoreThanTheQuotaOfTheFirstVersion) {
  for (const std::string_view mount : {"cpu,cpuacct", "cpu"}) {
    const Machine machine;
    const int cores = machine.Cores();
    machine.Write("proc/self/cgroup", "2:cpu,cpuacct:/a\n3:cpuset:/b\n");
    const std::string folder = "sys/fs/cgroup/" + std::string(mount);
    machine.Write(folder + "/cpu.cfs_quota_us", "-1\n");
    machine.Write(folder + "/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(machine.Cores(), cores);
    machine.Write(folder + "/a/cpu.cfs_quota_us", "50000\n");
    machine.Write(folder + "/a/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(machine.Cores(), 1);
  }
}

// A cpuset narrows the affinity mask, as does whoever starts the process.
TEST(UsableCoresTest, AreThoseOfTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(UsableCores(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(UsableCoresTest, CountHardwareThreadsOfACoreOnce) {
  const Machine machine;
  if (machine.Cores() < 2) GTEST_SKIP() << "one CPU";
  for (long cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); ++cpu) {
    machine.Write(
        "sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
        "0-1023\n");
  }
  EXPECT_EQ(machine.Cores(), 1);
}

}  // namespace
}  // namespace fptq
