#include "machine/limits.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace fptq {
namespace {

namespace fs = std::filesystem;

// The value behind `key` in lines of "key value", as in /proc/meminfo and memory.stat.
std::optional<int64_t> FindValue(const fs::path& path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string name;
    int64_t value = 0;
    if (words >> name >> value && name == key) return value;
  }
  return std::nullopt;
}

// The numbers that a file begins with: none where the file is absent or says "max".
std::vector<int64_t> ReadNumbers(const fs::path& path) {
  std::ifstream file(path);
  std::vector<int64_t> numbers;
  for (int64_t number = 0; file >> number;) numbers.push_back(number);
  return numbers;
}

std::optional<int64_t> ReadNumber(const fs::path& path) {
  const std::vector<int64_t> numbers = ReadNumbers(path);
  return numbers.empty() ? std::nullopt : std::optional(numbers[0]);
}

// A cgroup's folder, and those above it up to the mount. A container often sees its own cgroup as
// the mount, and a path that only the host has: then those in between do not exist, and have no
// files to read.
std::vector<fs::path> WithParents(const fs::path& mount, std::string_view cgroup) {
  std::vector<fs::path> folders = {mount};
  for (const fs::path& part : fs::path(cgroup).relative_path()) {
    if (part == "..") return {mount};  // outside of the cgroup namespace
    folders.push_back(folders.back() / part);
  }
  return folders;
}

// The folders of the cgroup hierarchy (v1) that has `controller`, and of the unified one (v2), that
// the process is in.
struct Cgroups {
  std::vector<fs::path> v1, v2;
};
Cgroups FindCgroups(const fs::path& root, std::string_view controller) {
  const fs::path mounts = root / "sys/fs/cgroup";
  Cgroups found;
  std::ifstream file(root / "proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {  // ID:CONTROLLERS:PATH
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      found.v2 = WithParents(mounts, path);
    } else if (fmt::format(",{},", controllers).find(fmt::format(",{},", controller)) !=
               std::string::npos) {
      // Mounted under all names together, or under one.
      const fs::path together = mounts / controllers;
      found.v1 = WithParents(fs::exists(together) ? together : mounts / controller, path);
    }
  }
  return found;
}

// What a limit leaves when the page cache in `usage` is taken back.
int64_t Left(int64_t limit, int64_t usage, int64_t page_cache) {
  return std::max<int64_t>(0, limit - std::max<int64_t>(0, usage - page_cache));
}

int64_t LeftByCgroups(const fs::path& root) {
  int64_t left = std::numeric_limits<int64_t>::max();
  const Cgroups cgroups = FindCgroups(root, "memory");
  const auto page_cache = [](const fs::path& folder, std::string_view prefix) {
    int64_t bytes = 0;
    for (const std::string_view list : {"inactive_file", "active_file"}) {
      bytes += FindValue(folder / "memory.stat", fmt::format("{}{}", prefix, list)).value_or(0);
    }
    return bytes;
  };
  for (const fs::path& folder : cgroups.v2) {
    for (const char* limit : {"memory.max", "memory.high"}) {
      if (const auto bytes = ReadNumber(folder / limit)) {
        left = std::min(left, Left(*bytes, ReadNumber(folder / "memory.current").value_or(0),
                                   page_cache(folder, "")));
      }
    }
  }
  for (const fs::path& folder : cgroups.v1) {
    if (const auto bytes = ReadNumber(folder / "memory.limit_in_bytes")) {
      left = std::min(left, Left(*bytes, ReadNumber(folder / "memory.usage_in_bytes").value_or(0),
                                 page_cache(folder, "total_")));
    }
  }
  return left;
}

// The least number of CPUs that a quota allows; infinity without one.
double CpuQuota(const fs::path& root) {
  double cpus = std::numeric_limits<double>::infinity();
  const auto limit = [&](int64_t quota, int64_t period) {
    if (quota <= 0 || period <= 0) return;  // v1 writes -1 for no quota
    cpus = std::min(cpus, static_cast<double>(quota) / static_cast<double>(period));
  };
  const Cgroups cgroups = FindCgroups(root, "cpu");
  for (const fs::path& folder : cgroups.v2) {
    if (const auto numbers = ReadNumbers(folder / "cpu.max"); numbers.size() == 2) {
      limit(numbers[0], numbers[1]);
    }
  }
  for (const fs::path& folder : cgroups.v1) {
    limit(ReadNumber(folder / "cpu.cfs_quota_us").value_or(-1),
          ReadNumber(folder / "cpu.cfs_period_us").value_or(-1));
  }
  return cpus;
}

// The physical cores of the affinity mask.
int PhysicalCores(const fs::path& root) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
    return static_cast<int>(std::thread::hardware_concurrency());
  }
  std::set<std::string> cores;  // each named by the list of its hardware threads
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::string siblings;
    std::ifstream file(
        root / fmt::format("sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    if (!std::getline(file, siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  return static_cast<int>(cores.size());
}

}  // namespace

int64_t AvailableMemory(const fs::path& root) {
  int64_t bytes = LeftByCgroups(root);
  const auto kilobytes = FindValue(root / "proc/meminfo", "MemAvailable:");
  if (kilobytes && *kilobytes >= 0 && *kilobytes < bytes / 1024) bytes = *kilobytes * 1024;
  return bytes;
}

int UsableCores(const fs::path& root) {
  const double cores = std::min<double>(PhysicalCores(root), std::ceil(CpuQuota(root)));
  return std::max(1, static_cast<int>(cores));
}

}  // namespace fptq
