// A vocabulary as GGUF and SentencePiece files list it, and the parts of tokenizer.json that come
// from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace fptq {

// Ids of a vocabulary are below this, so that a file cannot ask for unbounded memory.
constexpr int64_t kMaxTokenIds = int64_t{1} << 22;

// Ids of a tokenizer.json with that many tokens are below this: tables by id are not much larger
// than what stands in the file. Real ones have gaps of some thousands, for embeddings of round
// size.
int64_t TokenIdLimit(size_t tokens);

// The numbers are those of both file formats.
enum class TokenType : int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

struct Vocabulary {
  std::vector<std::string> tokens;  // by id
  std::vector<TokenType> types;
  std::vector<float> scores;  // SentencePiece: the higher, the earlier a token is merged; or empty
};

// "model": {"vocab": ...}, without unused tokens: they fill up an embedding. Error naming `where`
// if a token is there twice.
Json VocabJson(const Vocabulary& vocabulary, const std::string& where);
// "added_tokens": the control, unknown and user-defined tokens.
Json AddedTokensJson(const Vocabulary& vocabulary);
// "post_processor": puts the tokens before and after a text; null if there are none.
Json PostProcessorJson(const Vocabulary& vocabulary, std::optional<int64_t> before,
                       std::optional<int64_t> after);

}  // namespace fptq
