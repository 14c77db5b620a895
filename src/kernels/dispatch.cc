#include "kernels/dispatch.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"

namespace fptq {
namespace {

constexpr const KernelTable* kTables[] = {
// best first; scalar is the last
#if defined(__x86_64__)
    &kAvx512AmxKernels,
    &kAvx512VnniKernels,
    &kAvx2Kernels,
#elif defined(__aarch64__)
    &kNeonDotprodKernels,
#endif
    &kScalarKernels,
};

#if defined(__x86_64__)
// Linux gives the registers of tiles, 8 KB a thread, to processes that ask for them.
bool MayUseTiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // the component's number in XCR0
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

uint32_t CpuFeatures() {
  uint32_t features = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();  // also checks that the operating system saves the registers
  const auto has = [](int supported) { return supported != 0; };
  if (has(__builtin_cpu_supports("avx2")) && has(__builtin_cpu_supports("fma")) &&
      has(__builtin_cpu_supports("f16c"))) {
    features |= kCpuAvx2;
  }
  if (has(__builtin_cpu_supports("avx512f")) && has(__builtin_cpu_supports("avx512bw")) &&
      has(__builtin_cpu_supports("avx512dq")) && has(__builtin_cpu_supports("avx512vl")) &&
      has(__builtin_cpu_supports("avx512vnni"))) {
    features |= kCpuAvx512Vnni;
  }
  if (has(__builtin_cpu_supports("amx-tile")) && has(__builtin_cpu_supports("amx-int8")) &&
      MayUseTiles()) {
    features |= kCpuAmxInt8;
  }
#elif defined(__aarch64__)
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) features |= kCpuNeonDotprod;
#endif
#if defined(FPTQ_EMULATED)
  features |= kCpuAvx512Vnni | kCpuAmxInt8;  // emulation/avx512.h
#endif
  return features;
}

bool Supported(const KernelTable& table) {
  static const uint32_t features = CpuFeatures();
  return (table.cpu_features & ~features) == 0;
}

template <typename Entry>
void Inherit(Entry& entry, Entry from) {
  if (entry == nullptr) entry = from;
}

void InheritAll(KernelTable& table, const KernelTable& next) {
#define FPTQ_KERNEL(result, name, parameter) Inherit(table.name, next.name);
#include "kernels/kernel_list.inc"
#undef FPTQ_KERNEL
}

std::vector<KernelTable> CompleteTables() {
  std::vector<KernelTable> tables;
  for (const KernelTable* table : kTables) {
    if (Supported(*table)) tables.push_back(*table);
  }
  for (size_t i = tables.size() - 1; i > 0; --i) InheritAll(tables[i - 1], tables[i]);
  return tables;
}

}  // namespace

std::span<const KernelTable> SupportedKernels() {
  static const std::vector<KernelTable> tables = CompleteTables();
  return tables;
}

const KernelTable& ChooseKernels(std::string_view forced) {
  if (forced.empty()) return SupportedKernels().front();
  for (const KernelTable& table : SupportedKernels()) {
    if (table.name == forced) return table;
  }
  std::string names;
  for (const KernelTable* table : kTables) {
    if (table->name == forced) {
      throw Error("FPTQ_ISA: expected kernels that this CPU can run, found '{}'", forced);
    }
    names += names.empty() ? "" : ", ";
    names += table->name;
  }
  throw Error("FPTQ_ISA: expected one of {}, found '{}'", names, forced);
}

const KernelTable& Kernels() {
  static const KernelTable& table = [&]() -> const KernelTable& {
    const char* forced = std::getenv("FPTQ_ISA");
    return ChooseKernels(forced == nullptr ? "" : forced);
  }();
  return table;
}

}  // namespace fptq
