#include "engine/stop.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"

namespace fptq {

StopMatcher::StopMatcher(std::vector<std::string> strings) {
  for (std::string& string : strings) {
    if (string.empty()) throw Error("stop: expected strings that are not empty");
    if (ReplaceIllFormedUtf8(string) != string) throw Error("stop: expected UTF-8");
    // Each prefix's border is where the search of the string in itself stands.
    Pattern pattern{.string = std::move(string), .borders = {0}};
    while (pattern.borders.size() < pattern.string.size()) {
      pattern.Push(pattern.string[pattern.borders.size()]);
      pattern.borders.push_back(pattern.matched);
    }
    pattern.matched = 0;
    patterns_.push_back(std::move(pattern));
  }
}

void StopMatcher::Pattern::Push(char byte) {
  while (matched > 0 && string[matched] != byte) matched = borders[matched - 1];
  if (string[matched] == byte) ++matched;
}

std::string StopMatcher::Push(std::string_view text) {
  if (stopped_) return {};
  for (const char byte : text) {
    held_ += byte;
    size_t match = 0;  // the longest string that ends here
    for (Pattern& pattern : patterns_) {
      pattern.Push(byte);
      if (pattern.matched == pattern.string.size()) match = std::max(match, pattern.matched);
    }
    if (match > 0) {
      stopped_ = true;
      held_.resize(held_.size() - match);
      return std::exchange(held_, {});
    }
  }
  size_t hold = 0;
  for (const Pattern& pattern : patterns_) hold = std::max(hold, pattern.matched);
  std::string out = held_.substr(0, held_.size() - hold);
  held_.erase(0, out.size());
  return out;
}

std::string StopMatcher::Finish() { return std::exchange(held_, {}); }

}  // namespace fptq
