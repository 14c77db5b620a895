#include "text/tokenizer.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/prefix.h"
#include "text/token_guard.h"
#include "text/token_map.h"
#include "text/unicode.h"
#include "text/unigram.h"

namespace fptq {
namespace {

// A part of tokenizer.json that may be absent or null.
template <typename Part>
Part ParsePart(const TokenizerFiles& files, const char* name) {
  const JsonFields fields(files.tokenizer, files.where + ": tokenizer.json");
  return fields.Has(name) ? Part(fields.Object(name), fields.where() + ": " + name) : Part();
}

using TokenModel = std::variant<Bpe, Unigram>;

TokenModel ParseModel(const TokenizerFiles& files, bool byte_level) {
  const std::string file = files.where + ": tokenizer.json", where = file + ": model";
  const Json& model = JsonFields(files.tokenizer, file).Object("model");
  const std::string type = JsonFields(model, where).StringOr("type", "BPE");
  if (type == "BPE") {
    return Bpe(model, byte_level ? Bpe::Parts::kBytes : Bpe::Parts::kCharacters, where);
  }
  if (type != "Unigram") {
    throw Error("{}: type '{}' is not supported; known are BPE and Unigram", where, type);
  }
  if (byte_level) throw Error("{}: Unigram with ByteLevel is not supported", where);
  return Unigram(model, where);
}

// Memory that the words of a text share.
struct Scratch {
  Bpe::Scratch bpe;
  Unigram::Scratch unigram;
};

void EncodeWord(const TokenModel& model, std::string_view word, Scratch& scratch,
                std::vector<int32_t>& ids) {
  if (const auto* bpe = std::get_if<Bpe>(&model)) {
    bpe->Encode(word, scratch.bpe, ids);
  } else {
    std::get<Unigram>(model).Encode(word, scratch.unigram, ids);
  }
}

constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";  // U+FFFD

// Text and who wrote its parts; no passages: it does not matter.
struct GuardedText {
  std::string text;
  std::vector<Passage> passages;
};

// The passages of text[begin, begin + size), whose positions begin with 0.
std::vector<Passage> Part(std::span<const Passage> passages, size_t begin, size_t size) {
  std::vector<Passage> part;
  auto passage = std::ranges::upper_bound(passages, begin, {}, &Passage::end);
  for (size_t end = 0; end < size && passage != passages.end(); ++passage) {
    end = std::min(passage->end - begin, size);
    part.push_back({end, passage->origin});
  }
  return part;
}

// How many spaces `text` starts with, at most `most`.
size_t LeadingSpaces(std::string_view text, size_t most) {
  return std::min({text.find_first_not_of(' '), text.size(), most});
}

}  // namespace

struct Tokenizer::State {
  State(const TokenizerFiles& files, int64_t vocab);
  void AddToken(const AddedToken& token);
  GuardedText Normalize(std::string_view piece, const TokenGuard& guard) const;
  void FindIds();
  void CheckPrefix() const;
  std::optional<int32_t> Find(std::string_view token) const;
  const TokenMap& vocab() const {
    return std::visit([](const auto& m) -> const TokenMap& { return m.vocab(); }, model);
  }
  bool HasToken(int32_t id) const {
    return id >= 0 && id < std::ssize(tokens) && tokens[static_cast<size_t>(id)].used;
  }

  struct Token {
    std::string bytes;
    bool used = false;
    bool special = false;
    bool is_byte = false;  // SentencePiece's token of a byte
  };

  std::string where;
  int64_t rows;  // of the embedding
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  TokenModel model;
  Decoder decoder;
  AddedTokenFinder raw_finder;         // of the tokens that stand in the text as it comes
  AddedTokenFinder normalized_finder;  // of those that stand in the normalized text
  std::vector<int32_t> prefix;
  std::vector<Token> tokens;  // by id
  std::vector<int32_t> ids;
  TokenMap added_ids;
};

Tokenizer::State::State(const TokenizerFiles& files, int64_t model_rows)
    : where(files.where + ": tokenizer.json"),
      rows(model_rows),
      normalizer(ParsePart<Normalizer>(files, "normalizer")),
      pre_tokenizer(ParsePart<PreTokenizer>(files, "pre_tokenizer")),
      model(ParseModel(files, pre_tokenizer.byte_level())),
      decoder(JsonFields(files.tokenizer, where).Object("decoder"), where + ": decoder") {
  // "truncation" and "padding" concern batches, not the ids of a text.
  const JsonFields fields(files.tokenizer, where);
  if (decoder.byte_level() != pre_tokenizer.byte_level()) {
    throw Error("{}: pre_tokenizer and decoder: expected ByteLevel in both or in none", where);
  }
  for (size_t i = 0; i < vocab().size(); ++i) {
    const std::string_view token = vocab().token(i);
    const auto index = static_cast<size_t>(vocab().id(i));
    if (index >= tokens.size()) tokens.resize(index + 1);
    tokens[index] = {
        .bytes = decoder.TokenBytes(token), .used = true, .is_byte = decoder.IsByte(token)};
  }
  const std::vector<AddedToken> added = ParseAddedTokens(files.tokenizer, where);
  const int64_t limit = TokenIdLimit(vocab().size() + added.size());
  for (const AddedToken& token : added) {
    if (token.id >= limit) {
      throw Error("{}: added token '{}': expected an id from 0 to {} beside {} tokens, found {}",
                  where, token.content, limit - 1, vocab().size() + added.size(), token.id);
    }
    AddToken(token);
  }
  prefix = ParsePrefix(files, [this](std::string_view token) { return Find(token); });
  CheckPrefix();
  FindIds();
}

void Tokenizer::State::AddToken(const AddedToken& token) {
  const auto index = static_cast<size_t>(token.id);
  if (index >= tokens.size()) tokens.resize(index + 1);
  if (!added_ids.Add(token.content, token.id)) {
    throw Error("{}: added token '{}' is there twice", where, token.content);
  }
  const std::optional<int32_t> in_vocab = vocab().Find(token.content);
  if (in_vocab ? in_vocab != token.id : tokens[index].used) {
    throw Error("{}: added token '{}': its id {} {}", where, token.content, token.id,
                in_vocab ? fmt::format("differs from the {} in vocab", *in_vocab)
                         : fmt::format("is that of '{}'", tokens[index].bytes));
  }
  // Added tokens are written as they are, not in the byte-level alphabet.
  tokens[index].bytes = decoder.byte_level() ? token.content : decoder.TokenBytes(token.content);
  tokens[index].used = true;
  tokens[index].special = token.special;
  tokens[index].is_byte = decoder.IsByte(token.content);
  if (auto* unigram = std::get_if<Unigram>(&model); unigram != nullptr && token.special) {
    unigram->Hide(token.content);
  }
  if (token.normalized) {
    normalized_finder.Add(normalizer.Apply(token.content), token);
  } else {
    raw_finder.Add(token.content, token);
  }
}

std::optional<int32_t> Tokenizer::State::Find(std::string_view token) const {
  const std::optional<int32_t> added = added_ids.Find(token);
  return added ? added : vocab().Find(token);
}

void Tokenizer::State::CheckPrefix() const {
  for (const int32_t id : prefix) {
    if (!HasToken(id)) {
      throw Error("{}: post_processor: id {} is not in the vocabulary", where, id);
    }
    if (id >= rows) {
      throw Error(
          "{}: '{}' stands before every text: expected an id below {}, the rows of the "
          "embedding, found {}",
          where, tokens[static_cast<size_t>(id)].bytes, rows, id);
    }
  }
}

void Tokenizer::State::FindIds() {
  const int64_t end = std::min(rows, std::ssize(tokens));
  for (int32_t id = 0; id < end; ++id) {
    if (HasToken(id)) ids.push_back(id);
  }
  if (ids.empty()) {
    throw Error("{}: no token has an id below {}, the rows of the embedding", where, rows);
  }
}

GuardedText Tokenizer::State::Normalize(std::string_view piece, const TokenGuard& guard) const {
  if (guard.admits_all() || normalized_finder.empty()) return {normalizer.Apply(piece), {}};
  std::vector<size_t> ends;
  for (const Passage& passage : guard.passages()) ends.push_back(passage.end);
  std::optional<std::string> text = normalizer.Apply(piece, ends);
  // Where it cannot be told who wrote what, no token counts as the template's.
  if (!text) {
    std::string all = normalizer.Apply(piece);
    const size_t size = all.size();
    return {std::move(all), {{size, Origin::kUser}}};
  }
  GuardedText result{*std::move(text), {}};
  for (size_t i = 0; i < ends.size(); ++i) {
    result.passages.push_back({ends[i], guard.passages()[i].origin});
  }
  return result;
}

Tokenizer::Tokenizer(const TokenizerFiles& files, int64_t vocab)
    : state_(std::make_unique<State>(files, vocab)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::span<const int32_t> Tokenizer::ids() const { return state_->ids; }
std::span<const int32_t> Tokenizer::prefix() const { return state_->prefix; }

bool Tokenizer::Contains(int32_t id) const { return id < state_->rows && state_->HasToken(id); }

std::vector<int32_t> Tokenizer::Encode(std::string_view text, EncodeOptions options) const {
  Utf8Stream stream;
  std::string well_formed = stream.Push(text);
  well_formed += stream.Finish();

  std::vector<int32_t> ids;
  Scratch scratch;
  const auto encode_text = [&](std::string_view piece, bool at_start) {
    state_->pre_tokenizer.Split(piece, at_start, [&](std::string_view word) {
      EncodeWord(state_->model, word, scratch, ids);
    });
  };
  const auto encode_piece = [&](std::string_view piece, const TokenGuard& guard, bool at_start) {
    const GuardedText normalized = state_->Normalize(piece, guard);
    state_->normalized_finder.Split(
        normalized.text, options.parse_special,
        TokenGuard(normalized.passages, guard.control_tokens()),
        [&](int32_t id, std::string_view word) {
          id >= 0 ? ids.push_back(id)
                  : encode_text(word, at_start && word.data() == normalized.text.data());
        });
  };
  const TokenGuard guard(options.passages, options.control_tokens);
  state_->raw_finder.Split(
      well_formed, options.parse_special, guard, [&](int32_t id, std::string_view piece) {
        if (id >= 0) {
          ids.push_back(id);
        } else {
          const auto begin = static_cast<size_t>(piece.data() - well_formed.data());
          const std::vector<Passage> passages = Part(options.passages, begin, piece.size());
          encode_piece(piece, TokenGuard(passages, options.control_tokens), begin == 0);
        }
      });
  for (const int32_t id : ids) {
    if (id >= state_->rows) {
      throw Error(
          "{}: the text has the token '{}' with the id {}, beyond the {} rows of the "
          "embedding",
          state_->where, TokenBytes(id), id, state_->rows);
    }
  }
  const std::vector<int32_t>& prefix = state_->prefix;
  const bool has_prefix = !ids.empty() && !prefix.empty() && ids.front() == prefix.front();
  if (options.add_prefix && !has_prefix) ids.insert(ids.begin(), prefix.begin(), prefix.end());
  return ids;
}

std::vector<int32_t> Tokenizer::ControlTokens(std::string_view template_text) const {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < state_->added_ids.size(); ++i) {
    const std::string_view content = state_->added_ids.token(i);
    const int32_t id = state_->added_ids.id(i);
    const bool is_space = LeadingWhitespace(content) == content.size();
    if (!IsSpecial(id) && !is_space && template_text.find(content) != template_text.npos) {
      tokens.push_back(id);
    }
  }
  std::ranges::sort(tokens);
  return tokens;
}

std::string_view Tokenizer::TokenBytes(int32_t id) const {
  if (!state_->HasToken(id)) return "";
  return state_->tokens[static_cast<size_t>(id)].bytes;
}

bool Tokenizer::IsSpecial(int32_t id) const {
  return state_->HasToken(id) && state_->tokens[static_cast<size_t>(id)].special;
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string text;
  std::string bytes;  // of a run of byte tokens, or of tokens in the byte-level alphabet
  const bool byte_level = state_->decoder.byte_level();
  bool strips = state_->decoder.strips_first_token();
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
    if (!state_->HasToken(id)) continue;
    std::string token(TokenBytes(id));
    if (strips && !token.empty()) {
      std::erase(token, ' ');
      strips = false;
    }
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

bool Tokenizer::strips_first_token() const { return state_->decoder.strips_first_token(); }

TokenStream::TokenStream(const Tokenizer& tokenizer)
    : tokenizer_(tokenizer),
      spaces_to_strip_(tokenizer.stripped_spaces()),
      strips_token_(tokenizer.strips_first_token()) {}

std::string TokenStream::Push(int32_t id) {
  if (tokenizer_.IsSpecial(id)) return "";
  std::string token(tokenizer_.TokenBytes(id));
  if (strips_token_ && !token.empty()) {
    std::erase(token, ' ');
    strips_token_ = false;
  }
  std::string text = utf8_.Push(token);
  const size_t stripped = LeadingSpaces(text, spaces_to_strip_);
  spaces_to_strip_ = stripped == text.size() ? spaces_to_strip_ - stripped : 0;
  return text.substr(stripped);
}

std::string TokenStream::Finish() { return utf8_.Finish(); }

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  return state_->Find(token);
}

}  // namespace fptq
