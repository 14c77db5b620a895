// Tokens that are looked for in the text itself, before it is cut into words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/regex.h"
#include "base/thread_pool.h"
#include "text/byte_trie.h"

namespace fptq {

class TokenGuard;

struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;  // hidden by skip_special; not looked for if special tokens are not parsed
  bool lstrip = false;   // takes the white space before it
  bool rstrip = false;   // takes the white space after it
  bool single_word = false;  // only where no word character is beside it
  bool normalized = false;   // looked for in the normalized text
};

// The "added_tokens" of tokenizer.json.
std::vector<AddedToken> ParseAddedTokens(const Json& tokenizer, const std::string& where);

// Finds tokens in text: of those that begin first, the longest.
class AddedTokenFinder {
 public:
  AddedTokenFinder();

  // Looks for `text` (the token's content, normalized or not) from now on.
  void Add(std::string_view text, const AddedToken& token);

  bool empty() const { return tokens_.empty(); }

  // Calls found(id, piece) for the pieces of `text` in order, id -1 for what lies between tokens.
  void Split(std::string_view text, bool parse_special, const TokenGuard& guard,
             FunctionRef<void(int32_t, std::string_view)> found) const;

 private:
  static constexpr int32_t kNone = ByteTrie::kNone;
  const AddedToken* LongestAt(std::string_view text, size_t begin, const TokenGuard& guard,
                              size_t* end) const;
  bool StandsAlone(std::string_view before, std::string_view after) const;

  ByteTrie trie_;                                      // indices into tokens_
  std::vector<bool> starts_ = std::vector<bool>(256);  // bytes that some token begins with
  std::vector<AddedToken> tokens_;
  Regex word_character_;
};

}  // namespace fptq
