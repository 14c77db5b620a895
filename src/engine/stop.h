// Strings that end an answer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fptq {

// Looks for the stop strings in a text that comes in pieces. What may be the beginning of one is
// held back until it is known whether it is.
class StopMatcher {
 public:
  // Error if a string is empty or not UTF-8.
  explicit StopMatcher(std::vector<std::string> strings);

  // Returns what of the text so far comes before a stop string for sure and has not been returned
  // yet. The first stop string to be whole ends the text: nothing of it or after it is returned.
  // Whole UTF-8 characters in, whole ones out.
  std::string Push(std::string_view text);
  // The text ends: returns what was held back.
  std::string Finish();

  bool stopped() const { return stopped_; }

 private:
  // A string with the search of Knuth, Morris and Pratt.
  struct Pattern {
    std::string string;
    std::vector<size_t> borders;  // of each prefix: its longest proper prefix that it ends with
    size_t matched = 0;           // how much of the string the text ends with

    void Push(char byte);
  };

  std::vector<Pattern> patterns_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace fptq
