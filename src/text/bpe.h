// Byte pair encoding, over bytes or over characters.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/token_map.h"

namespace fptq {

class Bpe {
 public:
  // What a word is split to before its parts are merged. kBytes: the vocabulary is written in the
  // byte-level alphabet. kCharacters: a character that is not in the vocabulary is taken by its
  // bytes, tokens like <0x0A>, if the model has byte_fallback.
  enum class Parts { kBytes, kCharacters };

  // `model`: the "model" of tokenizer.json. Error if it is not a well-formed BPE.
  Bpe(const Json& model, Parts parts, const std::string& where);

  // Tokens as written in the file.
  const TokenMap& vocab() const { return vocab_; }

  // Memory that calls to Encode share; one caller at a time.
  class Scratch;

  // Appends the ids of one word, well-formed UTF-8. O(n log n) in its bytes.
  void Encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;

 private:
  // What a pair of adjacent tokens becomes; of several merges the lowest rank goes first.
  struct Merge {
    int32_t rank;
    int32_t id;
  };
  // Pairs to merges: a hash table with linear probing, at most half full.
  class MergeTable {
   public:
    explicit MergeTable(size_t pairs);
    void Set(int32_t left, int32_t right, Merge merge);
    const Merge* Find(int32_t left, int32_t right) const;

   private:
    struct Slot {
      uint64_t key = kEmpty;
      Merge merge;
    };
    static constexpr uint64_t kEmpty = ~uint64_t{0};  // ids are not negative
    size_t Probe(uint64_t key) const;

    std::vector<Slot> slots_;
    int shift_;  // 64 - log2(slots)
  };
  struct Symbol;
  struct Candidate;

  void ReadVocab(const Json& model, const std::string& where);
  void ReadMerges(const Json& model, const std::string& where);
  void FindWholeWords(bool ignore_merges);
  void FindByteTokens(const JsonFields& model);
  void Split(std::string_view word, std::vector<Symbol>& symbols) const;
  void MergeAll(Scratch& scratch) const;

  TokenMap vocab_;
  MergeTable merges_{0};
  Parts parts_;
  // Of the bytes or, for kCharacters, of the tokens that bytes fall back to. -1: not there.
  std::array<int32_t, 256> byte_ids_;
  std::optional<int32_t> unknown_;  // stands for parts that are not in the vocabulary
  bool fuse_unknown_ = false;       // a run of them is one unknown token
  TokenMap whole_words_;            // bytes of the words that are one token
};

struct Bpe::Symbol {
  int32_t id;  // -1: merged into the one before it
  int32_t previous;
  int32_t next;  // -1: none
};

struct Bpe::Candidate {
  Merge merge;
  int32_t position;
};

class Bpe::Scratch {
  friend class Bpe;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

}  // namespace fptq
