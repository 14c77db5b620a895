// The step that cuts text into words, within which alone a tokenizer merges.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "text/regex.h"

namespace fptq {

// A chain of splits that ends in ByteLevel: the "pre_tokenizer" of tokenizer.json.
class PreTokenizer {
 public:
  // Error naming whatever `spec` asks for that is not implemented.
  PreTokenizer(const Json& spec, const std::string& where);

  // Calls word(w) for the words of `text` (well-formed UTF-8) in order; w is valid during the call.
  void Split(std::string_view text, FunctionRef<void(std::string_view)> word) const;

 private:
  // What becomes of the matches of a pattern and of the gaps between them.
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct Stage {
    std::optional<Regex> regex;  // none: no split
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;            // gaps are taken for matches, and matches for gaps
    bool add_prefix_space = false;  // before text that does not start with one
  };
  struct Piece {
    size_t begin;
    size_t end;
    bool is_match;
  };

  void Parse(const Json& spec, const std::string& where);
  static Behavior ParseBehavior(std::string_view name, const std::string& where);
  static std::vector<Piece> Pieces(const Stage& stage, std::string_view text);
  void Apply(size_t stage, std::string_view text, FunctionRef<void(std::string_view)> word) const;

  std::vector<Stage> stages_;
  bool has_byte_level_ = false;
};

}  // namespace fptq
