// What the subcommands share: parsing, printing, progress.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "model/config.h"

namespace fptq {

// Parses and returns true; prints the help if it is asked for and returns false. Error for wrong
// usage.
bool ParseArguments(CLI::App& app, int argc, char** argv);

// For CLI::Option::check(). NaN is in no range.
CLI::Validator Between(int64_t min, int64_t max);
CLI::Validator Between(double min, double max);
inline constexpr int64_t kAnyCount = 1'000'000'000'000;

void AddThreads(CLI::App& app, int& threads);  // sets its default, the physical cores

// `context` as given (0: not given, then `otherwise` or less). Error if the model has less.
int64_t ChooseContext(int64_t context, int64_t otherwise, const ModelConfig& config);

// Writes to standard output at once; Error if that fails (a full disk).
void Print(std::string_view text);
// To standard error.
void Note(std::string_view text);

// Rows of cells in aligned columns, two spaces between them.
// `alignment` has an 'l' or 'r' for each column. The first row is the header.
void PrintTable(const std::vector<std::vector<std::string>>& rows, std::string_view alignment);

std::string FormatBytes(int64_t bytes);     // "134.5 MB", decimal units
std::string FormatCount(int64_t count);     // "134.5 M"
std::string FormatSeconds(double seconds);  // "12.3 s", "3 min 20 s"

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
