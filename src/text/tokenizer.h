// Text to token ids and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace fptq {

// The files that define a model's text side, in Hugging Face's form.
struct TokenizerFiles {
  std::string where;          // for errors: the folder or the GGUF file
  Json tokenizer;             // tokenizer.json
  Json tokenizer_config;      // tokenizer_config.json, an empty object if there is none
  std::string chat_template;  // Jinja text from chat_template.jinja or tokenizer_config.json; empty
                              // if there is none
  std::vector<std::string> warnings;  // as Model::warnings
};

// From a Hugging Face folder: tokenizer.json or, where there is none, one made from tokenizer.model
// (SentencePiece) or from vocab.json and merges.txt (GPT-2). Error if all are missing.
TokenizerFiles LoadTokenizerFiles(const std::filesystem::path& folder);
// The same files made from the metadata of a GGUF file (Checkpoint::metadata()):
// `tokenizer.ggml.model` "gpt2" (byte-level BPE) with the pre-tokenizers we know by their
// `tokenizer.ggml.pre` name, or "llama" (SentencePiece). Error for any other, naming it.
// `pre_tokenizer`: a name to take in place of `tokenizer.ggml.pre`; empty: that one.
TokenizerFiles TokenizerFilesFromGguf(const Json& metadata, std::string where,
                                      std::string_view pre_tokenizer = "");

class Tokenizer {
 public:
  // Builds the tokenizer that tokenizer.json describes. Whatever it asks for that is not
  // implemented (a model, a normalizer, a pre-tokenizer, a decoder) is an Error naming it, never
  // silently ignored.
  explicit Tokenizer(const TokenizerFiles& files);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  int64_t vocab_size() const;  // highest id + 1, added tokens included

  // Ids of `text`, which must be UTF-8 (ill-formed bytes are read as U+FFFD). Added tokens that
  // stand in the text are recognized, special ones only if `parse_special`. `add_special_tokens`:
  // what the post-processor adds (e.g. BOS).
  struct EncodeOptions {
    bool parse_special = true;
    bool add_special_tokens = true;
  };
  std::vector<int32_t> Encode(std::string_view text, EncodeOptions options) const;

  // The bytes that a token stands for: may be a part of a UTF-8 character. Special tokens give
  // their content.
  const std::string& TokenBytes(int32_t id) const;  // Error if the id is out of range
  bool IsSpecial(int32_t id) const;
  // The text of `ids`; bytes that make no whole character come out as U+FFFD.
  std::string Decode(std::span<const int32_t> ids, bool skip_special) const;

  // Spaces that Decode strips from the beginning of a text: SentencePiece models put one there.
  size_t stripped_spaces() const;

  std::optional<int32_t> TokenToId(std::string_view token) const;  // as written in tokenizer.json

 private:
  struct State;
  std::unique_ptr<const State> state_;
};

// Bytes in, whole UTF-8 characters out: keeps back the start of a character until the rest of it
// comes.
class Utf8Stream {
 public:
  std::string Push(std::string_view bytes);  // ill-formed sequences come out as U+FFFD
  std::string Finish();                      // what is left, as U+FFFD

 private:
  std::string pending_;
};

// Tokens in, text out as soon as it is known: what Decode gives for all of them without the special
// ones. Only ill-formed bytes may come out as another number of U+FFFD.
class TokenStream {
 public:
  explicit TokenStream(const Tokenizer& tokenizer);  // which must outlive it
  std::string Push(int32_t id);
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  size_t spaces_to_strip_;
  Utf8Stream utf8_;
};

}  // namespace fptq
