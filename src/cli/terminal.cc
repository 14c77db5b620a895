#include "cli/terminal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

#include "base/error.h"

namespace fptq {
namespace {

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

void Print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw Error("cannot write to standard output: {}", std::strerror(errno));
  }
}

void Note(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

void NoteWarnings(const std::vector<std::string>& warnings) {
  static std::set<std::string> noted;
  for (const std::string& warning : warnings) {
    if (noted.insert(warning).second) Note(fmt::format("fptq: warning: {}\n", OneLine(warning)));
  }
}

std::string OneLine(std::string_view text) {
  std::string line(text);
  std::ranges::replace_if(
      line, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }, ' ');
  return line;
}

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

}  // namespace fptq
