// What the machine lets this process have: the limits of its cgroups count as well as what is
// physically there.
#pragma once

#include <cstdint>
#include <filesystem>

namespace fptq {

// Bytes that this process can still take without swapping, and without being killed for it: the
// least of MemAvailable and, for its cgroup (v1 or v2) and each above it, of what is left below the
// limit when the kernel has taken back the page cache. 0 if nothing is left; INT64_MAX where
// nothing tells. Memory that was allocated and never touched does not count as taken, so whoever
// sizes a pool by this should take a part, once, before other parts of the process do the same.
// `root`: where /proc and /sys are looked for; other than "/" in tests.
int64_t AvailableMemory(const std::filesystem::path& root = "/");

// How many threads keep this process's share of the machine busy: the physical cores that it may
// run on (its affinity mask, which a cpuset narrows), but no more than the CPU quotas of its
// cgroups allow, rounded up. At least 1.
int UsableCores(const std::filesystem::path& root = "/");

}  // namespace fptq
