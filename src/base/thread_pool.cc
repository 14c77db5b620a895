#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"

namespace fptq {
namespace {

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Waits until `value` is no longer `old`, and returns what it became: first spinning, then asleep.
template <typename T>
T WaitWhile(const std::atomic<T>& value, T old) {
  constexpr auto kSpinTime = std::chrono::microseconds(50);
  constexpr int kPausesPerClockRead = 16;
  const auto deadline = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      const T now = value.load(std::memory_order_acquire);
      if (now != old) return now;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  value.wait(old, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

}  // namespace

// A loop: the caller writes `job`, sets `unfinished` and publishes both by a new `epoch`; each
// worker runs the job and counts `unfinished` down. No worker touches a job after that, so the
// caller may then write the next one.
struct ThreadPool::State {
  std::vector<std::thread> workers;
  const FunctionRef<void(int)>* job = nullptr;  // called with the thread's index; null: workers end
  std::exception_ptr error;                     // the first one; written by whoever sets `failed`
  std::atomic<bool> running = false;
  double* waiting = nullptr;  // of CountWaiting
  alignas(64) std::atomic<uint32_t> epoch = 0;
  alignas(64) std::atomic<int> unfinished = 0;
  alignas(64) std::atomic<int64_t> next = 0;  // of ParallelEach
  alignas(64) std::atomic<bool> failed = false;

  int threads() const { return static_cast<int>(workers.size()) + 1; }

  void RunJob(int thread) {
    try {
      (*job)(thread);
    } catch (...) {
      if (!failed.exchange(true, std::memory_order_relaxed)) error = std::current_exception();
    }
  }

  void WorkerMain(int thread) {
    for (uint32_t seen = 0;;) {
      seen = WaitWhile(epoch, seen);
      if (job == nullptr) return;
      RunJob(thread);
      if (unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished.notify_one();
    }
  }

  void Publish(const FunctionRef<void(int)>* new_job) {
    job = new_job;
    unfinished.store(static_cast<int>(workers.size()), std::memory_order_relaxed);
    epoch.fetch_add(1, std::memory_order_acq_rel);
    epoch.notify_all();
  }

  void Run(FunctionRef<void(int)> new_job) {
    FPTQ_CHECK(!running.exchange(true, std::memory_order_relaxed));
    Publish(&new_job);
    RunJob(0);
    Join();
    running.store(false, std::memory_order_relaxed);
    if (failed.load(std::memory_order_relaxed)) {
      failed.store(false, std::memory_order_relaxed);
      std::rethrow_exception(std::exchange(error, nullptr));
    }
  }

  void Join() {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = waiting == nullptr ? Clock::time_point() : Clock::now();
    for (int left = unfinished.load(std::memory_order_acquire); left != 0;) {
      left = WaitWhile(unfinished, left);
    }
    if (waiting != nullptr) *waiting += std::chrono::duration<double>(Clock::now() - start).count();
  }

  void Stop() {
    Publish(nullptr);
    for (std::thread& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  FPTQ_CHECK(threads >= 1);
  try {
    for (int i = 1; i < threads; ++i) {
      state_->workers.emplace_back([state = state_.get(), i] { state->WorkerMain(i); });
    }
  } catch (const std::exception& e) {
    state_->Stop();
    throw Error("cannot start {} threads: {}", threads, e.what());
  }
}

ThreadPool::~ThreadPool() { state_->Stop(); }

int ThreadPool::threads() const { return state_->threads(); }

void ThreadPool::CountWaiting(double* seconds) { state_->waiting = seconds; }

void ThreadPool::ParallelFor(int64_t count, FunctionRef<void(int64_t, int64_t)> body) {
  const int64_t n = std::min<int64_t>(count, threads());
  if (n <= 0) return;
  if (n == 1) return body(0, count);
  const int64_t share = count / n;
  const int64_t longer = count % n;  // this many threads, the first ones, take one more
  state_->Run([&](int thread) {
    if (thread >= n) return;
    const int64_t begin = thread * share + std::min<int64_t>(thread, longer);
    body(begin, begin + share + (thread < longer ? 1 : 0));
  });
}

void ThreadPool::ParallelEach(int64_t count, FunctionRef<void(int64_t)> body) {
  if (threads() == 1 || count <= 1) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  State& state = *state_;
  state.next.store(0, std::memory_order_relaxed);
  state.Run([&](int) {
    while (!state.failed.load(std::memory_order_relaxed)) {
      const int64_t i = state.next.fetch_add(1, std::memory_order_relaxed);
      if (i >= count) return;
      body(i);
    }
  });
}

int PhysicalCores() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }
  std::set<std::string> cores;  // each named by the list of its hardware threads
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::string siblings;
    std::ifstream file(
        fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
    if (!std::getline(file, siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

}  // namespace fptq
