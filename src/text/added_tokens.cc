#include "text/added_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "text/token_guard.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace fptq {
namespace {

// Bounds the search, which may go over a token's length from each byte of the text.
constexpr size_t kMaxContentBytes = 4096;

}  // namespace

std::vector<AddedToken> ParseAddedTokens(const Json& tokenizer, const std::string& where) {
  const JsonFields fields(tokenizer, where);
  std::vector<AddedToken> tokens;
  if (!fields.Has("added_tokens")) return tokens;
  for (const Json& entry : fields.Array("added_tokens")) {
    const JsonFields token(entry, where + ": added_tokens");
    AddedToken added;
    added.content = token.String("content");
    added.id = static_cast<int32_t>(token.Int("id", 0, kMaxTokenIds - 1));
    added.special = token.BoolOr("special", false);
    added.lstrip = token.BoolOr("lstrip", false);
    added.rstrip = token.BoolOr("rstrip", false);
    added.single_word = token.BoolOr("single_word", false);
    added.normalized = token.BoolOr("normalized", !added.special);
    if (added.content.empty() || added.content.size() > kMaxContentBytes) {
      throw Error("{}: token {}: expected 1 to {} bytes of content, found {}", token.where(),
                  added.id, kMaxContentBytes, added.content.size());
    }
    tokens.push_back(std::move(added));
  }
  return tokens;
}

AddedTokenFinder::AddedTokenFinder()
    : word_character_(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])", "added tokens",
                      RegexSyntax::kOniguruma) {}

void AddedTokenFinder::Add(std::string_view text, const AddedToken& token) {
  if (text.empty()) return;  // a normalizer may leave nothing of it
  starts_[static_cast<uint8_t>(text.front())] = true;
  int32_t& token_index = trie_.Add(text);
  if (token_index != kNone) return;  // another one has the same normal form
  token_index = static_cast<int32_t>(tokens_.size());
  tokens_.push_back(token);
}

const AddedToken* AddedTokenFinder::LongestAt(std::string_view text, size_t begin,
                                              const TokenGuard& guard, size_t* end) const {
  if (!starts_[static_cast<uint8_t>(text[begin])]) return nullptr;
  const AddedToken* longest = nullptr;
  trie_.FindPrefixes(text.substr(begin), [&](int32_t index, size_t length) {
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    if (!guard.Admits(token, begin, begin + length)) return;
    longest = &token;
    *end = begin + length;
  });
  return longest;
}

bool AddedTokenFinder::StandsAlone(std::string_view before, std::string_view after) const {
  bool found = false;
  const auto find = [&](std::string_view character) {
    word_character_.FindAll(character, [&](size_t, size_t) { found = true; });
  };
  if (!before.empty()) find(LastCharacter(before));
  if (!after.empty()) find(after.substr(0, static_cast<size_t>(Utf8CharLength(after))));
  return !found;
}

void AddedTokenFinder::Split(std::string_view text, bool parse_special, const TokenGuard& guard,
                             FunctionRef<void(int32_t, std::string_view)> found) const {
  size_t done = 0;
  size_t next = 0;
  while (next < text.size()) {
    size_t end = 0;
    const AddedToken* token = LongestAt(text, next, guard, &end);
    if (token == nullptr) {
      ++next;
      continue;
    }
    size_t begin = next;
    next = end;  // a token that is passed over hides what begins within it
    if (token->special && !parse_special) continue;
    if (token->single_word && !StandsAlone(text.substr(0, begin), text.substr(end))) continue;
    if (token->lstrip) begin = std::max(done, begin - TrailingWhitespace(text.substr(0, begin)));
    if (token->rstrip) end += LeadingWhitespace(text.substr(end));
    if (done < begin) found(kNone, text.substr(done, begin - done));
    found(token->id, text.substr(begin, end - begin));
    done = end;
  }
  if (done < text.size()) found(kNone, text.substr(done));
}

}  // namespace fptq
