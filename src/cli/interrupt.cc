#include "cli/interrupt.h"

#include <unistd.h>

#include <csignal>

#include "base/error.h"

namespace fptq {
namespace {

enum class OnInterrupt { kExit, kSetFlag, kSetFlagThenExit };

// Lock-free atomics are what a signal handler may touch.
std::atomic<OnInterrupt> g_on_interrupt = OnInterrupt::kExit;
std::atomic<bool> g_pressed = false;
static_assert(std::atomic<OnInterrupt>::is_always_lock_free &&
              std::atomic<bool>::is_always_lock_free);

void HandleInterrupt(int) {
  const OnInterrupt action = g_on_interrupt;
  const bool again = g_pressed.exchange(true);
  if (action == OnInterrupt::kExit || (action == OnInterrupt::kSetFlagThenExit && again)) {
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, "\n", 1);
    _exit(kInterruptedStatus);
  }
}

}  // namespace

void ExitOnInterrupt() {
  struct sigaction action = {};
  action.sa_handler = HandleInterrupt;
  action.sa_flags = SA_RESTART;
  FPTQ_CHECK(sigaction(SIGINT, &action, nullptr) == 0);
}

InterruptScope::InterruptScope(bool second_press_exits) {
  g_pressed = false;
  g_on_interrupt = second_press_exits ? OnInterrupt::kSetFlagThenExit : OnInterrupt::kSetFlag;
}

InterruptScope::~InterruptScope() { g_on_interrupt = OnInterrupt::kExit; }

const std::atomic<bool>& InterruptScope::pressed() const { return g_pressed; }

}  // namespace fptq
