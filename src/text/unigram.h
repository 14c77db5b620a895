// The Unigram model of SentencePiece: of all ways to cut a word into tokens the one with the
// highest sum of their scores.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/byte_trie.h"
#include "text/token_map.h"

namespace fptq {

class Unigram {
 public:
  // `model`: the "model" of tokenizer.json. Error if it is not a well-formed Unigram.
  Unigram(const Json& model, const std::string& where);

  // Tokens as written in the file.
  const TokenMap& vocab() const { return vocab_; }

  // From now on words that have this token's text are cut as if there were no such token: else a
  // special one could be written by anybody.
  void Hide(std::string_view token);

  // Memory that calls to Encode share; one caller at a time.
  class Scratch;

  // Appends the ids of one word, well-formed UTF-8. What no token holds is, run by run, one unknown
  // token or, if the model has byte_fallback, the tokens of its bytes; Error if there are neither.
  // O(n) in its bytes, times the length of the longest token.
  void Encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;

 private:
  struct Node;
  static constexpr uint32_t kUnreached = ~uint32_t{0};

  void ReadVocab(const JsonFields& model);
  void FindBestPath(std::string_view word, std::vector<Node>& nodes) const;
  void AddUnknown(std::string_view part, std::vector<int32_t>& ids) const;

  TokenMap vocab_;
  std::vector<double> scores_;  // by id
  ByteTrie trie_;               // ids of the tokens
  double unknown_score_ = 0;
  std::optional<int32_t> unknown_;
  bool byte_fallback_ = false;
};

// The best way to cut what is before a place in a word.
struct Unigram::Node {
  double score = 0;
  int32_t id = 0;               // of its last token
  uint32_t begin = kUnreached;  // of it
};

class Unigram::Scratch {
  friend class Unigram;
  std::vector<Node> nodes_;  // by the bytes before the place
};

}  // namespace fptq
