#include "cli/common.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.h"
#include "base/thread_pool.h"
#include "cli/interrupt.h"

namespace fptq {
namespace {

template <typename T>
CLI::Validator RangeValidator(T min, T max, std::string_view noun) {
  return CLI::Validator(
      [=](std::string& text) {
        T value{};
        if (CLI::detail::lexical_cast(text, value) && value >= min && value <= max)
          return std::string();
        if (max == static_cast<T>(kAnyCount))
          return fmt::format("expected {} of at least {}, found '{}'", noun, min, text);
        return fmt::format("expected {} from {} to {}, found '{}'", noun, min, max, text);
      },
      "");
}

// Columns that a terminal needs for UTF-8 text, near enough for tensor names and reasons.
int64_t Width(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

std::string FormatUnits(double value, const char* const* units) {
  while (value >= 999.95 && units[1] != nullptr) {
    value /= 1000;
    ++units;
  }
  return fmt::format("{:.1f} {}", value, *units);
}

}  // namespace

bool ParseArguments(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    Print(app.help());
    return false;
  } catch (const CLI::ParseError& e) {
    throw Error("{}: {}", argv[0], e.what());
  }
  return true;
}

CLI::Validator Between(int64_t min, int64_t max) {
  return RangeValidator(min, max, "a whole number");
}
CLI::Validator Between(double min, double max) { return RangeValidator(min, max, "a number"); }

void AddThreads(CLI::App& app, int& threads) {
  threads = PhysicalCores();
  app.add_option("--threads", threads,
                 fmt::format("threads to compute with (default {}, the cores)", threads))
      ->check(Between(int64_t{1}, int64_t{1024}));
}

int64_t ChooseContext(int64_t context, int64_t otherwise, const ModelConfig& config) {
  if (context > config.max_positions) {
    throw Error("--context: the model has {} positions, found {}", config.max_positions, context);
  }
  return context > 0 ? context : std::min(otherwise, config.max_positions);
}

void Print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw Error("cannot write to standard output: {}", std::strerror(errno));
  }
}

void Note(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

void PrintTable(const std::vector<std::vector<std::string>>& rows, std::string_view alignment) {
  std::vector<int64_t> widths(alignment.size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(static_cast<size_t>(widths[i] - Width(row[i])), ' ');
      line += alignment[i] == 'r' ? padding + row[i] : row[i] + padding;
      line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  Print(text);
}

std::string FormatBytes(int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", nullptr};
  return FormatUnits(static_cast<double>(bytes), kUnits);
}

std::string FormatCount(int64_t count) {
  static constexpr const char* kUnits[] = {"", "k", "M", "G", "T", nullptr};
  return FormatUnits(static_cast<double>(count), kUnits);
}

std::string FormatSeconds(double seconds) {
  if (seconds < 99.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  return fmt::format("{} min {} s", whole / 60, whole % 60);
}

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
