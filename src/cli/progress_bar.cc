#include "cli/progress_bar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace fptq {

ProgressBar::ProgressBar(const std::atomic<bool>* cancel)
    : cancel_(cancel), terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (shown_) Note("\r\x1b[K");
}

void ProgressBar::Update(std::string_view stage, int64_t done, int64_t total) {
  if (cancel_ != nullptr && *cancel_) throw Interrupted();
  if (!terminal_ || total <= 0) return;
  const Clock::time_point now = Clock::now();
  if (stage != stage_) {
    stage_ = stage;
    stage_start_ = now;
  } else if (done < total && now - last_shown_ < std::chrono::milliseconds(50)) {
    return;
  }
  constexpr int64_t kCells = 30;
  const double fraction =
      std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0);
  const auto filled = static_cast<size_t>(fraction * kCells);
  Note(fmt::format("\r{:<12} [{}{}] {:3.0f}%  {}\x1b[K", stage, std::string(filled, '#'),
                   std::string(kCells - filled, ' '), 100 * fraction,
                   FormatSeconds(std::chrono::duration<double>(now - stage_start_).count())));
  last_shown_ = now;
  shown_ = true;
}

Progress ProgressBar::AsProgress() {
  return
      [this](std::string_view stage, int64_t done, int64_t total) { Update(stage, done, total); };
}

}  // namespace fptq
