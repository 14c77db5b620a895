// Progress on the terminal.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>

#include "base/progress.h"

namespace fptq {

// A line on standard error if that is a terminal, nothing otherwise. Throws Interrupted once
// `cancel` is set.
class ProgressBar {
 public:
  explicit ProgressBar(const std::atomic<bool>* cancel = nullptr);
  ~ProgressBar();  // clears the line
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Update(std::string_view stage, int64_t done, int64_t total);
  Progress AsProgress();

 private:
  using Clock = std::chrono::steady_clock;

  const std::atomic<bool>* cancel_;
  bool terminal_;
  bool shown_ = false;
  std::string stage_;
  Clock::time_point stage_start_, last_shown_;
};

}  // namespace fptq
