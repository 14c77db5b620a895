#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/byte_level.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"

namespace fptq {
namespace {

// True: NFC; false: none.
bool ParseNormalizer(const Json& tokenizer, const std::string& where) {
  const JsonFields fields(tokenizer, where);
  if (!fields.Has("normalizer")) return false;
  const JsonFields normalizer(fields.Object("normalizer"), where + ": normalizer");
  const std::string type = normalizer.String("type");
  if (type == "NFC") return true;
  if (type != "Sequence") throw Error("{}: '{}' is not supported", normalizer.where(), type);
  bool nfc = false;
  for (const Json& member : normalizer.Array("normalizers")) {
    nfc |= ParseNormalizer(Json{{"normalizer", member}}, where);
  }
  return nfc;
}

void CheckDecoder(const Json& decoder, const std::string& where) {
  const JsonFields fields(decoder, where);
  const std::string type = fields.String("type");
  if (type == "Sequence" && fields.Array("decoders").size() == 1) {
    CheckDecoder(fields.Array("decoders")[0], where);
  } else if (type != "ByteLevel") {
    throw Error("{}: '{}' is not supported; only ByteLevel is", where, type);
  }
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
  };

  std::string where;
  Bpe bpe;
  PreTokenizer pre_tokenizer;
  bool nfc;
  AddedTokenFinder raw_finder;         // of the tokens that stand in the text as it comes
  AddedTokenFinder normalized_finder;  // of those that stand in the normalized text
  Template special;
  std::vector<Token> tokens;  // by id
  StringMap<int32_t> added_ids;
};

Tokenizer::State::State(const TokenizerFiles& files)
    : where(files.where + ": tokenizer.json"),
      bpe(JsonFields(files.tokenizer, where).Object("model"), where + ": model"),
      pre_tokenizer(JsonFields(files.tokenizer, where).Object("pre_tokenizer"),
                    where + ": pre_tokenizer"),
      nfc(ParseNormalizer(files.tokenizer, where)) {
  // "truncation" and "padding" concern batches, not the ids of a text.
  const JsonFields fields(files.tokenizer, where);
  CheckDecoder(fields.Object("decoder"), where + ": decoder");
  for (const auto& [token, id] : bpe.vocab()) {
    const auto index = static_cast<size_t>(id);
    if (index >= tokens.size()) tokens.resize(index + 1);
    tokens[index].bytes = ByteLevelDecode(token).value_or(token);
    tokens[index].used = true;
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
  tokens[index] = {token.content, /*used=*/true, token.special};
  if (token.normalized) {
    normalized_finder.Add(nfc ? NormalizeNfc(token.content) : token.content, token);
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
  const auto encode_text = [&](std::string_view piece) {
    state_->pre_tokenizer.Split(
        piece, [&](std::string_view word) { state_->bpe.Encode(word, scratch, ids); });
  };
  const auto encode_normalized = [&](std::string_view normalized) {
    state_->normalized_finder.Split(normalized, options.parse_special,
                                    [&](int32_t id, std::string_view piece) {
                                      id >= 0 ? ids.push_back(id) : encode_text(piece);
                                    });
  };
  state_->raw_finder.Split(
      well_formed, options.parse_special, [&](int32_t id, std::string_view piece) {
        if (id >= 0) {
          ids.push_back(id);
        } else {
          state_->nfc ? encode_normalized(NormalizeNfc(piece)) : encode_normalized(piece);
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
  std::string bytes;
  for (const int32_t id : ids) {
    if (!(skip_special && IsSpecial(id))) bytes += TokenBytes(id);
  }
  Utf8Stream stream;
  std::string text = stream.Push(bytes);
  return text += stream.Finish();
}

std::optional<int32_t> Tokenizer::TokenToId(std::string_view token) const {
  for (const auto* ids : {&state_->added_ids, &state_->bpe.vocab()}) {
    if (const auto it = ids->find(token); it != ids->end()) return it->second;
  }
  return std::nullopt;
}

}  // namespace fptq
