// Text to token ids and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/passage.h"
#include "text/vocabulary.h"

namespace fptq {

// The files that define a model's text side, in Hugging Face's form.
struct TokenizerFiles {
  std::string where;  // for errors: the folder or the GGUF file
  Json tokenizer;     // tokenizer.json
  // tokenizer_config.json, or an empty object; names of tokens that it leaves out are from
  // special_tokens_map.json.
  Json tokenizer_config;
  // Jinja texts by name: "default" and others, such as "tool_use". Empty if there are none.
  std::map<std::string, std::string> chat_templates;
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

// The content of the token that tokenizer_config.json calls `name` ("bos_token", "eos_token", ...),
// there a text or an object; empty if there is none.
std::string NamedToken(const TokenizerFiles& files, const std::string& name);

// TokenizerFiles::chat_templates as the field of tokenizer_config.json: the only one as a text,
// several as a list.
Json ChatTemplatesJson(const std::map<std::string, std::string>& templates);

class Tokenizer {
 public:
  // Builds the tokenizer that tokenizer.json describes. Whatever it asks for that is not
  // implemented (a model, a normalizer, a pre-tokenizer, a decoder) is an Error naming it, never
  // silently ignored. `vocab` is how many rows the model's embedding has: a token with an id from
  // there on has none. Error if one stands before every text, or if all tokens are such.
  explicit Tokenizer(const TokenizerFiles& files, int64_t vocab = kMaxTokenIds);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // The ids that stand for a token and are within `vocab`, ascending: all that a model may be asked
  // to write. Embeddings often have more rows, and vocabularies holes.
  std::span<const int32_t> ids() const;
  bool Contains(int32_t id) const;  // whether ids() has it

  // What stands before every text, e.g. BOS; empty for many models. What a tokenizer puts behind a
  // text, e.g. EOS, is nothing that a model goes on from, and left out.
  std::span<const int32_t> prefix() const;

  // Ids of `text`, which must be UTF-8 (ill-formed bytes are read as U+FFFD). Added tokens that
  // stand in the text are recognized, special ones only if `parse_special`. `add_prefix` puts
  // prefix() before them, unless the text begins with its first token. Error if a token of the text
  // is beyond `vocab`.
  struct EncodeOptions {
    bool parse_special = true;
    bool add_prefix = true;
    // Who wrote which part of the text, to its end; empty: all of it counts as a template. In what
    // others wrote no special token is recognized, nor in that of users one of `control_tokens`
    // (ascending). Nothing else depends on where passages end.
    std::span<const Passage> passages = {};
    std::span<const int32_t> control_tokens = {};
  };
  std::vector<int32_t> Encode(std::string_view text, EncodeOptions options) const;

  // The ids, ascending, of added tokens that stand in the text of a chat template and are thus for
  // control though they are not marked as special; none that is mere white space.
  std::vector<int32_t> ControlTokens(std::string_view template_text) const;

  // The bytes that a token stands for: may be a part of a UTF-8 character. Special tokens give
  // their content. Empty if no token has this id.
  std::string_view TokenBytes(int32_t id) const;
  bool IsSpecial(int32_t id) const;
  // The text of `ids`; bytes that make no whole character come out as U+FFFD.
  std::string Decode(std::span<const int32_t> ids, bool skip_special) const;

  // Spaces that Decode strips from the beginning of a text: SentencePiece models put one there.
  size_t stripped_spaces() const;
  // Whether the first token of a text loses all its spaces there.
  bool strips_first_token() const;

  // `token` is as written in tokenizer.json; its id may be beyond `vocab`.
  std::optional<int32_t> TokenToId(std::string_view token) const;

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
  bool strips_token_;  // the next one that comes, as Tokenizer::strips_first_token
  Utf8Stream utf8_;
};

}  // namespace fptq
