#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace fptq {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {
 protected:
  ThreadPool pool_{GetParam()};
};

TEST_P(ThreadPoolTest, ParallelForCoversTheRangeOnce) {
  EXPECT_EQ(pool_.threads(), GetParam());
  for (int64_t count = 0; count < 40; ++count) {
    std::vector<int> calls(static_cast<size_t>(count));  // plain: each element has one writer
    std::vector<int64_t> lengths(static_cast<size_t>(count));
    pool_.ParallelFor(count, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) ++calls[static_cast<size_t>(i)];
      lengths[static_cast<size_t>(begin)] = end - begin;
    });
    EXPECT_EQ(calls, std::vector<int>(calls.size(), 1));
    std::set<int64_t> used(lengths.begin(), lengths.end());
    used.erase(0);
    if (count > 0) {
      EXPECT_LE(*used.rbegin() - *used.begin(), 1);  // as even as they can be
    }
  }
}

TEST_P(ThreadPoolTest, RangesBeginAtMultiplesOfTheUnit) {
  for (int64_t count = 0; count < 70; ++count) {
    std::vector<int> calls(static_cast<size_t>(count));
    pool_.ParallelFor(count, /*unit_length=*/4, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(begin % 4, 0);
      EXPECT_TRUE(end % 4 == 0 || end == count);
      for (int64_t i = begin; i < end; ++i) ++calls[static_cast<size_t>(i)];
    });
    EXPECT_EQ(calls, std::vector<int>(calls.size(), 1));
  }
}

// More than a loop has chunks.
TEST_P(ThreadPoolTest, ParallelEachTakesMillions) {
  std::vector<uint8_t> calls(3'000'000);
  pool_.ParallelEach(std::ssize(calls), [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
  EXPECT_EQ(std::count(calls.begin(), calls.end(), 1), std::ssize(calls));
}

// A worker that is held up in one chunk does not keep the others from being done.
TEST_P(ThreadPoolTest, OneSlowChunkHoldsUpNoOther) {
  if (pool_.threads() == 1) GTEST_SKIP() << "one thread does all chunks in order";
  std::atomic<int> done = 0;
  pool_.ParallelEach(20, [&](int64_t i) {
    if (i != 0) {
      ++done;
      return;
    }
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (done < 19 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  });
  EXPECT_EQ(done, 19);
}

TEST_P(ThreadPoolTest, ParallelEachCallsEachOnce) {
  for (int64_t count = 0; count < 40; ++count) {
    std::vector<int> calls(static_cast<size_t>(count));
    pool_.ParallelEach(count, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
    EXPECT_EQ(calls, std::vector<int>(calls.size(), 1));
  }
}

TEST_P(ThreadPoolTest, ManyLoopsSeeEachOthersWrites) {
  std::vector<int64_t> values(64, 0);
  for (int round = 0; round < 3000; ++round) {
    pool_.ParallelFor(64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) values[static_cast<size_t>(i)] += i;
    });
    std::rotate(values.begin(), values.begin() + 1, values.end());
  }
  int64_t sum = 0;
  for (const int64_t value : values) sum += value;
  EXPECT_EQ(sum, 3000 * (63 * 64 / 2));
}

TEST_P(ThreadPoolTest, WakesWorkersThatSleep) {
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // far longer than they spin
    int64_t done[8] = {};
    pool_.ParallelFor(8, [&](int64_t begin, int64_t end) {
      // Longer than the caller spins, so that it sleeps too.
      if (begin > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      for (int64_t i = begin; i < end; ++i) done[i] = 1;
    });
    for (const int64_t d : done) EXPECT_EQ(d, 1);
  }
}

TEST_P(ThreadPoolTest, RethrowsAndGoesOn) {
  for (int round = 0; round < 50; ++round) {
    EXPECT_THROW(pool_.ParallelFor(100, [](int64_t, int64_t) { throw std::runtime_error("all"); }),
                 std::runtime_error);
    EXPECT_THROW(pool_.ParallelEach(100,
                                    [](int64_t i) {
                                      if (i == 37) throw std::runtime_error("one");
                                    }),
                 std::runtime_error);
    std::vector<int> calls(100);
    pool_.ParallelEach(100, [&](int64_t i) { ++calls[static_cast<size_t>(i)]; });
    EXPECT_EQ(calls, std::vector<int>(100, 1));
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 7));

}  // namespace
}  // namespace fptq
