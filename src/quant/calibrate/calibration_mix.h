// What a calibration consists of: "self", "chat", "random", "given", a file, or a mix of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fptq {

// Names of calibrations that need no file.
inline constexpr std::string_view kSelfCalibration = "self";
inline constexpr std::string_view kChatCalibration = "chat";
inline constexpr std::string_view kRandomCalibration = "random";
inline constexpr std::string_view kGivenCalibration = "given";  // by who calls the library

struct CalibrationPart {
  std::string source;  // one of these names, or a file
  double share = 0;    // of the tokens

  // Whether the model writes it.
  bool is_written() const { return source == kSelfCalibration || source == kChatCalibration; }
  bool is_file() const {
    return !is_written() && source != kRandomCalibration && source != kGivenCalibration;
  }
};

// "SOURCE[:SHARE],...": "self", "text.txt", "self:0.5,random:0.1,text.txt". Sources without a share
// have equal parts of what the others leave. Error naming `where` unless the shares are positive
// and sum to 1, and no source comes twice.
std::vector<CalibrationPart> ParseCalibration(std::string_view text, std::string_view where);

// The files among the parts.
std::vector<std::filesystem::path> CalibrationFiles(std::string_view calibration);

// How many of `tokens` tokens are of each part; sums to `tokens`.
std::vector<int64_t> SplitTokens(const std::vector<CalibrationPart>& parts, int64_t tokens);

// How many of `tokens` tokens the model writes itself.
int64_t SelfTokens(std::string_view calibration, int64_t tokens);

}  // namespace fptq
