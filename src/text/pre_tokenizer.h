// The step that cuts text into words, within which alone a tokenizer merges.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/regex.h"
#include "base/thread_pool.h"

namespace fptq {

// The "pre_tokenizer" of tokenizer.json: a chain of splits.
class PreTokenizer {
 public:
  PreTokenizer() = default;  // none: a text is one word
  // Error naming whatever `spec` asks for that is not implemented.
  PreTokenizer(const Json& spec, const std::string& where);

  // Whether ByteLevel is one of them: tokens are written in the byte-level alphabet.
  bool byte_level() const { return byte_level_; }

  // Calls word(w) for the words of `text` (well-formed UTF-8) in order; w is valid during the call.
  // `at_start`: nothing stands before `text`.
  void Split(std::string_view text, bool at_start, FunctionRef<void(std::string_view)> word) const;

 private:
  // What becomes of the matches of a pattern and of the gaps between them.
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct Stage {
    std::optional<Regex> regex;  // none: no split
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;  // gaps are taken for matches, and matches for gaps
    std::string space;    // stands for ' ' from here on; empty: ' ' itself
    std::string prefix;   // put before text that does not start with it; empty: none
    bool prefix_at_start_only = false;
    bool on_bytes = false;  // after ByteLevel: the pattern sees its alphabet, a character a byte
  };
  struct Piece {
    size_t begin;
    size_t end;
    bool is_match;
  };

  void Parse(const Json& spec, const std::string& where);
  static Stage ParseMetaspace(const JsonFields& spec);
  static Behavior ParseBehavior(std::string_view name, const std::string& where);
  static std::vector<Piece> Pieces(const Stage& stage, std::string_view text);
  // Of bytes, as the pattern sees them in the byte-level alphabet.
  static std::vector<Piece> BytePieces(const Stage& stage, std::string_view bytes);
  void Apply(size_t stage, std::string_view text, bool at_start,
             FunctionRef<void(std::string_view)> word) const;

  std::vector<Stage> stages_;
  bool byte_level_ = false;
};

// Where a Metaspace puts its replacement before a text: "always", "first" (at the start only) or
// "never". Error if `spec` says something else.
std::string MetaspacePrefix(const JsonFields& spec);

}  // namespace fptq
