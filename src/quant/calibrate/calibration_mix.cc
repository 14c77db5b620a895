#include "quant/calibrate/calibration_mix.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>

#include "base/error.h"
#include "base/utf8.h"

namespace fptq {
namespace {

constexpr double kTolerance = 1e-6;  // of the sum of shares

// A share as it is written, 0.25 or 1e-2; nothing if `text` is no number.
std::optional<double> Number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// What stands behind the last colon is a share if it is a number: a path may have colons too.
CalibrationPart ParsePart(std::string_view text, std::string_view where) {
  CalibrationPart part{.source = std::string(text)};
  const size_t colon = text.rfind(':');
  if (colon != std::string_view::npos) {
    if (const std::optional<double> share = Number(text.substr(colon + 1))) {
      if (!(*share > 0 && *share <= 1 + kTolerance)) {
        throw Error("{}: expected a share above 0 and up to 1, found {}", where, *share);
      }
      part = {.source = std::string(text.substr(0, colon)), .share = *share};
    }
  }
  if (part.source.empty())
    throw Error("{}: expected self, chat, random or a file, found ''", where);
  return part;
}

}  // namespace

std::vector<CalibrationPart> ParseCalibration(std::string_view text, std::string_view where) {
  std::vector<CalibrationPart> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(ParsePart(text.substr(begin, end - begin), where));
    for (const CalibrationPart& other : std::span(parts).first(parts.size() - 1)) {
      if (other.source == parts.back().source) {
        throw Error("{}: expected different sources, found {} twice", where,
                    ReplaceIllFormedUtf8(other.source));
      }
    }
    begin = end + 1;
  }
  double sum = 0;
  const auto unsaid = std::ranges::count_if(parts, [](const auto& p) { return p.share == 0; });
  for (const CalibrationPart& part : parts) sum += part.share;
  if (unsaid == 0 ? std::abs(sum - 1) > kTolerance : sum > 1 - kTolerance) {
    throw Error("{}: expected shares that sum to {}, found {:.6g}", where,
                unsaid == 0 ? "1" : "less than 1, as others have none", sum);
  }
  for (CalibrationPart& part : parts) {
    if (part.share == 0) part.share = (1 - sum) / static_cast<double>(unsaid);
  }
  return parts;
}

std::vector<std::filesystem::path> CalibrationFiles(std::string_view calibration) {
  std::vector<std::filesystem::path> files;
  for (const CalibrationPart& part : ParseCalibration(calibration, "calibration")) {
    if (part.is_file()) files.emplace_back(part.source);
  }
  return files;
}

std::vector<int64_t> SplitTokens(const std::vector<CalibrationPart>& parts, int64_t tokens) {
  std::vector<int64_t> counts;
  double share = 0;
  int64_t done = 0;
  for (const CalibrationPart& part : parts) {
    share += part.share;
    const bool last = counts.size() + 1 == parts.size();
    const auto up_to = last ? tokens : std::llround(share * static_cast<double>(tokens));
    counts.push_back(up_to - done);
    done = up_to;
  }
  return counts;
}

int64_t SelfTokens(std::string_view calibration, int64_t tokens) {
  const std::vector<CalibrationPart> parts = ParseCalibration(calibration, "calibration");
  const std::vector<int64_t> counts = SplitTokens(parts, tokens);
  int64_t sum = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].is_written()) sum += counts[i];
  }
  return sum;
}

}  // namespace fptq
