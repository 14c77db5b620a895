// Tokenizers of SentencePiece's kinds, over whole texts in which U+2581 stands for spaces: BPE
// (LLaMA, LLaMA-2, Mistral, Gemma), where pairs of pieces are merged by the score of what they
// become, and Unigram (T5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "text/vocabulary.h"

namespace fptq {

// How texts are cut, and changed before.
struct SentencePieceMethod {
  bool unigram = false;         // else BPE
  std::string character_map;    // CharacterMap's bytes; empty: characters stay as they are
  bool removes_spaces = false;  // at the beginning, the end, and all but one between
};

// A tokenizer.model.
struct SentencePieceModel {
  Vocabulary vocabulary;
  SentencePieceMethod method;
  bool add_dummy_prefix = true;  // a space before a text
  int64_t unknown = 0;           // ids
  std::optional<int64_t> bos;
  std::optional<int64_t> eos;
};

// Reads the bytes of a tokenizer.model: a message ModelProto in protobuf's wire format. Error
// naming `where` if it is none, or asks for what we do not do: other algorithms, or texts in which
// spaces stay spaces.
SentencePieceModel ParseSentencePieceModel(std::span<const std::byte> file, std::string_view where);

// How a vocabulary with scores is used.
struct SentencePieceOptions {
  SentencePieceMethod method = {};
  std::optional<int64_t> unknown;
  std::optional<int64_t> bos;  // put before a text
  std::optional<int64_t> eos;  // put after a text
  bool add_prefix_space = true;
  // A text that starts with a space gets no other, and neither does what follows a special token
  // (transformers calls it `legacy: false`).
  bool prefix_at_start_only = false;
};

// The tokenizer.json that gives the same tokens. Error naming `where` if the vocabulary is
// malformed.
Json SentencePieceTokenizerJson(const Vocabulary& vocabulary, const SentencePieceOptions& options,
                                const std::string& where);

}  // namespace fptq
