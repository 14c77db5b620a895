#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace fptq {
namespace {

// A part of tokenizer.json that may be absent or null.
template <typename Part>
Part ParsePart(const TokenizerFiles& files, const char* name) {
  const JsonFields fields(files.tokenizer, files.where + ": tokenizer.json");
  return fields.Has(name) ? Part(fields.Object(name), fields.where() + ": " + name) : Part();
}

constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";  // U+FFFD

// How many spaces `text` starts with, at most `most`.
size_t LeadingSpaces(std::string_view text, size_t most) {
  return std::min({text.find_first_not_of(' '), text.size(), most});
}

// Ids that are put before and after those of a text.
struct Template {
  std::vector<int32_t> before;
  std::vector<int32_t> after;
};

std::vector<int32_t> TemplateTokenIds(const JsonFields& processor, const std::string& name) {
  const JsonFields tokens(processor.Object("special_tokens"), processor.where());
  const JsonFields token(tokens.Object(name), processor.where() + ": " + name);
  std::vector<int32_t> ids;
  for (const Json& id : token.Array("ids")) {
    const Json object = {{"id", id}};
    const int64_t value = JsonFields(object, token.where()).Int("id", 0, kMaxTokenIds - 1);
    ids.push_back(static_cast<int32_t>(value));
  }
  return ids;
}

Template ParseTemplate(const JsonFields& processor) {
  Template result;
  int sequences = 0;
  for (const Json& entry : processor.Array("single")) {
    const JsonFields piece(entry, processor.where() + ": single");
    if (piece.Has("Sequence")) {
      ++sequences;
      continue;
    }
    const JsonFields special(piece.Object("SpecialToken"), piece.where());
    auto& side = sequences == 0 ? result.before : result.after;
    const std::vector<int32_t> ids = TemplateTokenIds(processor, special.String("id"));
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (sequences != 1) {
    throw Error("{}: expected the text once in the template, found it {} times", processor.where(),
                sequences);
  }
  return result;
}

// Each processor of a sequence puts its tokens around those of the ones before it.
void ParsePostProcessor(const Json& spec, const std::string& where, Template& result) {
  const JsonFields fields(spec, where);
  const std::string type = fields.String("type");
  if (type == "Sequence") {
    for (const Json& member : fields.Array("processors")) {
      ParsePostProcessor(member, where, result);
    }
  } else if (type == "TemplateProcessing") {
    const Template outer = ParseTemplate(fields);
    result.before.insert(result.before.begin(), outer.before.begin(), outer.before.end());
    result.after.insert(result.after.end(), outer.after.begin(), outer.after.end());
  } else if (type != "ByteLevel") {  // ByteLevel trims offsets, which we do not report
    throw Error("{}: '{}' is not supported", where, type);
  }
}

}  // namespace

struct Tokenizer::State {
  explicit State(const TokenizerFiles& files);
  void AddToken(const AddedToken& token);
  void CheckTemplate() const;

  struct Token {
    std::string bytes;
    bool used = false;
    bool special = false;
    bool is_byte = false;  // SentencePiece's token of a byte
  };

  std::string where;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  Decoder decoder;
  AddedTokenFinder raw_finder;         // of the tokens that stand in the text as it comes
  AddedTokenFinder normalized_finder;  // of those that stand in the normalized text
  Template special;
  std::vector<Token> tokens;  // by id
  StringMap<int32_t> added_ids;
};

Tokenizer::State::State(const TokenizerFiles& files)
    : where(files.where + ": tokenizer.json"),
      normalizer(ParsePart<Normalizer>(files, "normalizer")),
      pre_tokenizer(ParsePart<PreTokenizer>(files, "pre_tokenizer")),
      bpe(JsonFields(files.tokenizer, where).Object("model"),
          pre_tokenizer.byte_level() ? Bpe::Parts::kBytes : Bpe::Parts::kCharacters,
          where + ": model"),
      decoder(JsonFields(files.tokenizer, where).Object("decoder"), where + ": decoder") {
  // "truncation" and "padding" concern batches, not the ids of a text.
  const JsonFields fields(files.tokenizer, where);
  if (decoder.byte_level() != pre_tokenizer.byte_level()) {
    throw Error("{}: pre_tokenizer and decoder: expected ByteLevel in both or in none", where);
  }
  for (const auto& [token, id] : bpe.vocab()) {
    const auto index = static_cast<size_t>(id);
    if (index >= tokens.size()) tokens.resize(index + 1);
    tokens[index] = {
        .bytes = decoder.TokenBytes(token), .used = true, .is_byte = decoder.IsByte(token)};
  }
  for (const AddedToken& token : ParseAddedTokens(files.tokenizer, where)) AddToken(token);
  if (fields.Has("post_processor")) {
    ParsePostProcessor(fields.Object("post_processor"), where + ": post_processor", special);
  }
  CheckTemplate();
}

void Tokenizer::State::AddToken(const AddedToken& token) {
  const auto index = static_cast<size_t>(token.id);
  if (index >= tokens.size()) tokens.resize(index + 1);
  if (!added_ids.emplace(token.content, token.id).second) {
    throw Error("{}: added token '{}' is there twice", where, token.content);
  }
  const auto in_vocab = bpe.vocab().find(token.content);
  const bool is_in_vocab = in_vocab != bpe.vocab().end();
  if (is_in_vocab ? in_vocab->second != token.id : tokens[index].used) {
    throw Error("{}: added token '{}': its id {} {}", where, token.content, token.id,
                is_in_vocab ? fmt::format("differs from the {} in vocab", in_vocab->second)
                            : fmt::format("is that of '{}'", tokens[index].bytes));
  }
  // Added tokens are written as they are, not in the byte-level alphabet.
  tokens[index].bytes = decoder.byte_level() ? token.content : decoder.TokenBytes(token.content);
  tokens[index].used = true;
  tokens[index].special = token.special;
  tokens[index].is_byte = decoder.IsByte(token.content);
  if (token.normalized) {
    normalized_finder.Add(normalizer.Apply(token.content), token);
  } else {
    raw_finder.Add(token.content, token);
  }
}

void Tokenizer::State::CheckTemplate() const {
  for (const auto& side : {special.before, special.after}) {
    for (const int32_t id : side) {
      if (static_cast<size_t>(id) >= tokens.size() || !tokens[static_cast<size_t>(id)].used) {
        throw Error("{}: post_processor: id {} is not in the vocabulary", where, id);
      }
    }
  }
}

Tokenizer::Tokenizer(const TokenizerFiles& files) : state_(std::make_unique<State>(files)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

int64_t Tokenizer::vocab_size() const { return static_cast<int64_t>(state_->tokens.size()); }

std::vector<int32_t> Tokenizer::Encode(std::string_view text, EncodeOptions options) const {
  Utf8Stream stream;
  std::string well_formed = stream.Push(text);
  well_formed += stream.Finish();

  std::vector<int32_t> ids;
  Bpe::Scratch scratch;
  if (options.add_special_tokens) ids = state_->special.before;
  const auto encode_text = [&](std::string_view piece, bool at_start) {
    state_->pre_tokenizer.Split(
        piece, at_start, [&](std::string_view word) { state_->bpe.Encode(word, scratch, ids); });
  };
  const auto encode_normalized = [&](std::string_view normalized, bool at_start) {
    state_->normalized_finder.Split(
        normalized, options.parse_special, [&](int32_t id, std::string_view piece) {
          id >= 0 ? ids.push_back(id)
                  : encode_text(piece, at_start && piece.data() == normalized.data());
        });
  };
  state_->raw_finder.Split(
      well_formed, options.parse_special, [&](int32_t id, std::string_view piece) {
        if (id >= 0) {
          ids.push_back(id);
        } else {
          encode_normalized(state_->normalizer.Apply(piece), piece.data() == well_formed.data());
        }
      });
  if (options.add_special_tokens) {
    ids.insert(ids.end(), state_->special.after.begin(), state_->special.after.end());
  }
  return ids;
}

const std::string& Tokenizer::TokenBytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    throw Error("{}: expected a token id from 0 to {}, found {}", state_->where, vocab_size() - 1,
                id);
  }
  return state_->tokens[static_cast<size_t>(id)].bytes;
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && id < vocab_size() && state_->tokens[static_cast<size_t>(id)].special;
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string text;
  std::string bytes;  // of a run of byte tokens, or of tokens in the byte-level alphabet
  const bool byte_level = state_->decoder.byte_level();
  const auto flush = [&] {
    // The reference gives one U+FFFD for each byte of a run that is ill-formed anywhere.
    Utf8Stream stream;
    std::string run = stream.Push(bytes);
    run += stream.Finish();
    if (!byte_level && run != bytes) {
      run.clear();
      for (size_t i = 0; i < bytes.size(); ++i) run += kReplacementCharacter;
    }
    text += run;
    bytes.clear();
  };
  for (const int32_t id : ids) {
    if (skip_special && IsSpecial(id)) continue;
    const std::string& token = TokenBytes(id);
    if (byte_level || state_->tokens[static_cast<size_t>(id)].is_byte) {
      bytes += token;
    } else {
      flush();
      text += token;
    }
  }
  flush();
  text.erase(0, LeadingSpaces(text, state_->decoder.stripped_spaces()));
  return text;
}

size_t Tokenizer::stripped_spaces() const { return state_->decoder.stripped_spaces(); }

TokenStream::TokenStream(const Tokenizer& tokenizer)
    : tokenizer_(tokenizer), spaces_to_strip_(tokenizer.stripped_spaces()) {}

std::string TokenStream::Push(int32_t id) {
  if (tokenizer_.IsSpecial(id)) return "";
  std::string text = utf8_.Push(tokenizer_.TokenBytes(id));
  const size_t stripped = LeadingSpaces(text, spaces_to_strip_);
  spaces_to_strip_ = stripped == text.size() ? spaces_to_strip_ - stripped : 0;
  return text.substr(stripped);
}

std::string TokenStream::Finish() { return utf8_.Finish(); }

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  for (const auto* ids : {&state_->added_ids, &state_->bpe.vocab()}) {
    if (const auto it = ids->find(token); it != ids->end()) return it->second;
  }
  return std::nullopt;
}

}  // namespace fptq
