// Ctrl-C.
#pragma once

#include <atomic>

namespace fptq {

inline constexpr int kInterruptedStatus = 130;  // 128 + SIGINT, as shells have it

// Thrown where work is given up because of Ctrl-C.
struct Interrupted {};

// From now on SIGINT ends the program with kInterruptedStatus, except in an InterruptScope.
void ExitOnInterrupt();

// While it lives, SIGINT only sets a flag; or, if `second_press_exits`, the first one does and the
// second one ends the program. One at a time.
class InterruptScope {
 public:
  explicit InterruptScope(bool second_press_exits);
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  const std::atomic<bool>& pressed() const;
};

}  // namespace fptq
