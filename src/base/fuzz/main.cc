// What libFuzzer calls. NAME_fuzz --target=TARGET [--errors] [FLAG_OF_LIBFUZZER|INPUT|FOLDER]...
// --errors prints the Error that an input ends with.
#include <sanitizer/allocator_interface.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <string_view>

#include "base/check_error.h"
#include "base/error.h"
#include "base/fuzz/json_mutator.h"
#include "base/fuzz/target.h"

namespace fptq {
namespace {

const FuzzTarget* chosen_target = nullptr;
std::vector<std::string> words;  // of the dictionary
bool print_errors = false;

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "fuzz: %s: %s\n", std::string(chosen_target->name).c_str(), what);
  std::abort();
}

// --- Memory: no input of a few kilobytes may hold more than this at any time ---

constexpr int64_t kMaxLiveBytes = int64_t{64} << 20;
std::atomic<int64_t> live_bytes = 0;
std::atomic<bool> counting = false;

void CountAllocation(const volatile void*, size_t size) {
  if (!counting) return;
  if (live_bytes.fetch_add(static_cast<int64_t>(size)) + static_cast<int64_t>(size) >
      kMaxLiveBytes) {
    counting = false;
    Fail("holds too much memory for its size");
  }
}

void CountFree(const volatile void* memory) {
  if (!counting || memory == nullptr) return;
  live_bytes -=
      static_cast<int64_t>(__sanitizer_get_allocated_size(const_cast<const void*>(memory)));
}

// --- Time: of the processor, so that a busy machine does not count ---

double ProcessorSeconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

constexpr double kMaxSeconds = 2;

// --- Flags ---

// The quoted words of a dictionary in libFuzzer's form.
void ReadDictionary(const std::string& path) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.size() > 2 && line.front() == '"' && line.back() == '"') {
      words.push_back(line.substr(1, line.size() - 2));
    }
  }
}

void ReadFlags(int argc, char** argv) {
  constexpr std::string_view kTarget = "--target=", kDictionary = "-dict=";
  std::string_view name;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    print_errors |= flag == "--errors";
    if (flag.starts_with(kTarget)) name = flag.substr(kTarget.size());
    if (flag.starts_with(kDictionary)) ReadDictionary(std::string(flag.substr(kDictionary.size())));
  }
  const auto& targets = FuzzTargets();
  const auto found = std::ranges::find(targets, name, &FuzzTarget::name);
  if (found == targets.end()) {
    for (const FuzzTarget& target : targets) std::puts(std::string(target.name).c_str());
    std::exit(name.empty() ? 0 : 1);
  }
  chosen_target = &*found;
  ThrowFailedChecks();
}

void Run(std::string_view input) {
  live_bytes = 0;
  counting = true;
  try {
    chosen_target->run(input);
  } catch (const Error& error) {  // what a bad input is answered with
    if (print_errors) std::puts(error.what());
  } catch (const CheckError& error) {
    counting = false;
    Fail(error.what());
  }
  counting = false;
}

// Copies `text` to libFuzzer's buffer; 0 if it does not fit.
size_t Give(const std::string& text, uint8_t* data, size_t max_size) {
  if (text.size() > max_size) return 0;
  std::ranges::copy(text, data);
  return text.size();
}

std::string_view View(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace

std::vector<FuzzTarget>& FuzzTargets() {
  static std::vector<FuzzTarget> targets = [] {
    std::vector<FuzzTarget> all;
    all.reserve(64);  // references to the targets stay valid
    return all;
  }();
  return targets;
}

FuzzFolder::FuzzFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "fptq-fuzz-XXXXXX").string();
  FPTQ_CHECK(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

FuzzFolder::~FuzzFolder() { std::filesystem::remove_all(path_); }

std::filesystem::path FuzzFolder::Write(std::string_view name, std::string_view content) const {
  const std::filesystem::path path = path_ / name;
  std::ofstream file(path, std::ios::binary);
  file << content;
  return path;
}

void FuzzFolder::Clear() const {
  for (const auto& entry : std::filesystem::directory_iterator(path_)) {
    std::filesystem::remove_all(entry.path());
  }
}

}  // namespace fptq

using namespace fptq;

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  ReadFlags(*argc, *argv);
  __sanitizer_install_malloc_and_free_hooks(CountAllocation, CountFree);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const double begin = ProcessorSeconds();
  Run(View(data, size));
  if (ProcessorSeconds() - begin > kMaxSeconds) Fail("takes too long for its size");
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  constexpr unsigned kBytesEvery = 16;
  if (chosen_target->input == FuzzInput::kJson && seed % kBytesEvery != 0) {
    const auto mutated = MutateJson(View(data, size), words, seed, LLVMFuzzerMutate);
    const size_t given = mutated ? Give(*mutated, data, max_size) : 0;
    if (given > 0) return given;
  }
  return LLVMFuzzerMutate(data, size, max_size);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data, size_t size, const uint8_t* other,
                                            size_t other_size, uint8_t* out, size_t max_out_size,
                                            unsigned seed) {
  if (chosen_target->input != FuzzInput::kJson) return 0;  // LLVMFuzzerMutate does it
  const auto crossed = CrossJson(View(data, size), View(other, other_size), seed);
  return crossed ? Give(*crossed, out, max_out_size) : 0;
}
