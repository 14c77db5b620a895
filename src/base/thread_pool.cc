#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
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

// A loop is cut into chunks. Whoever is free claims the next chunk, so the caller never waits for a
// worker that has not begun: on a busy machine it may be long before a worker is scheduled.
//
// `claims` holds the loop's number and the next chunk. A loop's fields are written while `claims`
// is closed; who reads them and then claims a chunk of the same loop has read that loop's fields,
// since they do not change before all its chunks are finished.
struct ThreadPool::State {
  using Body = FunctionRef<void(int64_t, int64_t)>;
  static constexpr uint64_t kClosed = 0xffff'ffff;  // a chunk number that is out of reach

  std::vector<std::thread> workers;
  std::atomic<const Body*> body = nullptr;
  std::atomic<int64_t> units = 0;        // what the chunks divide among them
  std::atomic<int64_t> unit_length = 0;  // all units have it but the last one
  std::atomic<int64_t> count = 0;
  std::atomic<uint64_t> chunks = 0;
  std::exception_ptr error;   // the first one; written by whoever sets `failed`
  double* waiting = nullptr;  // of CountWaiting
  std::atomic<bool> running = false;
  std::atomic<bool> stop = false;
  alignas(64) std::atomic<uint32_t> loop = 0;  // the loop's number: workers wait for a new one
  alignas(64) std::atomic<uint64_t> claims = kClosed;
  alignas(64) std::atomic<int> unfinished = 0;
  alignas(64) std::atomic<bool> failed = false;

  int threads() const { return static_cast<int>(workers.size()) + 1; }

  void RunChunk(const Body& run, int64_t begin, int64_t end) {
    if (failed.load(std::memory_order_relaxed)) return;
    try {
      run(begin, end);
    } catch (...) {
      if (!failed.exchange(true, std::memory_order_relaxed)) error = std::current_exception();
    }
  }

  // Claims and runs chunks until there is none left.
  void Work() {
    uint64_t claim = claims.load(std::memory_order_acquire);
    while (true) {
      const uint64_t chunk = claim & kClosed, of = chunks.load(std::memory_order_relaxed);
      const Body* const run = body.load(std::memory_order_relaxed);
      const int64_t all_units = units.load(std::memory_order_relaxed);
      const int64_t length = unit_length.load(std::memory_order_relaxed);
      const int64_t last = count.load(std::memory_order_relaxed);
      if (chunk >= of) return;
      if (!claims.compare_exchange_weak(claim, claim + 1, std::memory_order_acq_rel)) continue;
      const auto boundary = [&](uint64_t i) {
        return static_cast<int64_t>(i) * all_units / static_cast<int64_t>(of) * length;
      };
      RunChunk(*run, boundary(chunk), std::min(boundary(chunk + 1), last));
      if (unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished.notify_one();
      ++claim;
    }
  }

  void WorkerMain() {
    for (uint32_t seen = 0;;) {
      seen = WaitWhile(loop, seen);
      if (stop.load(std::memory_order_acquire)) return;
      Work();
    }
  }

  void Run(int64_t new_count, int64_t new_unit_length, int64_t max_chunks, const Body& new_body) {
    const int64_t new_units = (new_count + new_unit_length - 1) / new_unit_length;
    const int64_t new_chunks = std::min(new_units, max_chunks);
    if (new_chunks <= 0) return;
    if (new_chunks == 1 || threads() == 1) return new_body(0, new_count);
    FPTQ_CHECK(new_chunks < static_cast<int64_t>(INT32_MAX));
    FPTQ_CHECK(!running.exchange(true, std::memory_order_relaxed));
    claims.exchange(kClosed, std::memory_order_acq_rel);
    body.store(&new_body, std::memory_order_relaxed);
    units.store(new_units, std::memory_order_relaxed);
    unit_length.store(new_unit_length, std::memory_order_relaxed);
    count.store(new_count, std::memory_order_relaxed);
    chunks.store(static_cast<uint64_t>(new_chunks), std::memory_order_relaxed);
    unfinished.store(static_cast<int>(new_chunks), std::memory_order_relaxed);
    const uint32_t number = loop.load(std::memory_order_relaxed) + 1;
    claims.store(uint64_t{number} << 32, std::memory_order_release);
    loop.store(number, std::memory_order_release);
    loop.notify_all();
    Work();
    Join();
    running.store(false, std::memory_order_relaxed);
    if (failed.load(std::memory_order_relaxed)) {
      failed.store(false, std::memory_order_relaxed);
      std::rethrow_exception(std::exchange(error, nullptr));
    }
  }

  // Waits for the chunks that workers are still at.
  void Join() {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = waiting == nullptr ? Clock::time_point() : Clock::now();
    for (int left = unfinished.load(std::memory_order_acquire); left != 0;) {
      left = WaitWhile(unfinished, left);
    }
    if (waiting != nullptr) *waiting += std::chrono::duration<double>(Clock::now() - start).count();
  }

  void Stop() {
    stop.store(true, std::memory_order_release);
    loop.fetch_add(1, std::memory_order_release);
    loop.notify_all();
    for (std::thread& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  FPTQ_CHECK(threads >= 1);
  try {
    for (int i = 1; i < threads; ++i) {
      state_->workers.emplace_back([state = state_.get()] { state->WorkerMain(); });
    }
  } catch (const std::exception& e) {
    state_->Stop();
    throw Error(ErrorKind::kResource,
                fmt::format("cannot start {} threads: {}", threads, e.what()));
  }
}

ThreadPool::~ThreadPool() { state_->Stop(); }

int ThreadPool::threads() const { return state_->threads(); }

void ThreadPool::CountWaiting(double* seconds) { state_->waiting = seconds; }

void ThreadPool::ParallelFor(int64_t count, int64_t unit_length,
                             FunctionRef<void(int64_t, int64_t)> body) {
  // Enough chunks that the others can make up for a thread that is held up, as on machines whose
  // cores are shared with other work; of many threads fewer each, since claims are one at a time.
  constexpr int64_t kChunksPerThread = 2, kMinChunks = 16;
  FPTQ_CHECK(unit_length >= 1);
  state_->Run(count, unit_length, std::max(threads() * kChunksPerThread, kMinChunks), body);
}

void ThreadPool::ParallelEach(int64_t count, FunctionRef<void(int64_t)> body) {
  constexpr int64_t kMaxChunks = 1 << 20;
  state_->Run(count, /*new_unit_length=*/1, kMaxChunks, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

}  // namespace fptq
