#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/gguf_pre_tokenizer.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace fptq {
namespace {

// A token that the metadata names: tokenizer.ggml.NAME_token_id.
struct NamedId {
  const char* gguf;
  const char* config;  // field of tokenizer_config.json; null: it has none
  int64_t llama = -1;  // what such a vocabulary has if the metadata is silent
};
constexpr NamedId kNamedIds[] = {
    {"bos", "bos_token", 1},  {"eos", "eos_token", 2}, {"unknown", "unk_token", 0},
    {"padding", "pad_token"}, {"eot", nullptr},        {"eom", nullptr}};

struct GgufVocab : Vocabulary {
  std::map<std::string_view, int64_t> named;  // by NamedId::gguf, those that are among the tokens

  std::optional<int64_t> Find(std::string_view name) const {
    const auto it = named.find(name);
    return it == named.end() ? std::nullopt : std::optional(it->second);
  }
};

// An array with a number for each token.
std::vector<double> ReadNumbers(const JsonFields& metadata, const std::string& name,
                                const Vocabulary& vocab, bool integers) {
  const Json& values = metadata.Array(name);
  const auto fits = [&](const Json& value) {
    return integers ? value.is_number_integer() : value.is_number();
  };
  if (values.size() != vocab.tokens.size() || !std::all_of(values.begin(), values.end(), fits)) {
    throw Error("{}: {}: expected {} {}, found {} values", metadata.where(), name,
                vocab.tokens.size(), integers ? "integers" : "numbers", values.size());
  }
  return values.get<std::vector<double>>();
}

GgufVocab ReadVocab(const JsonFields& metadata, bool has_usual_ids) {
  GgufVocab vocab;
  const Json& tokens = metadata.Array("tokenizer.ggml.tokens");
  if (tokens.size() > static_cast<size_t>(kMaxTokenIds)) {
    throw Error("{}: tokenizer.ggml.tokens: expected at most {} tokens, found {}", metadata.where(),
                kMaxTokenIds, tokens.size());
  }
  for (const Json& token : tokens) {
    if (!token.is_string()) {
      throw Error("{}: tokenizer.ggml.tokens: token {}: expected a string, found {}",
                  metadata.where(), vocab.tokens.size(), token.type_name());
    }
    vocab.tokens.push_back(token.get<std::string>());
  }
  vocab.types.assign(tokens.size(), TokenType::kNormal);
  if (const std::string name = "tokenizer.ggml.token_type"; metadata.Has(name)) {
    std::ranges::transform(ReadNumbers(metadata, name, vocab, /*integers=*/true),
                           vocab.types.begin(), [](double type) {
                             return type >= 1 && type <= 6 ? static_cast<TokenType>(type)
                                                           : TokenType::kNormal;
                           });
  }
  if (const std::string name = "tokenizer.ggml.scores"; metadata.Has(name)) {
    for (const double score : ReadNumbers(metadata, name, vocab, /*integers=*/false)) {
      vocab.scores.push_back(static_cast<float>(score));
    }
  }
  for (const NamedId& name : kNamedIds) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name.gguf);
    constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
    const int64_t id = metadata.IntOr(key, has_usual_ids ? name.llama : -1, -kMax, kMax);
    if (id < 0 || id >= std::ssize(vocab.tokens)) continue;  // FindSpecialTokens tells of it
    vocab.types[static_cast<size_t>(id)] = TokenType::kControl;
    vocab.named[name.gguf] = id;
  }
  return vocab;
}

Json BpeModel(const GgufVocab& vocab, const JsonFields& metadata, bool ignore_merges) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", ignore_merges},
          {"vocab", VocabJson(vocab, metadata.where() + ": tokenizer.ggml.tokens")},
          {"merges", metadata.Array("tokenizer.ggml.merges")}};
}

Json TokenizerConfig(const GgufVocab& vocab, const JsonFields& metadata, bool add_bos,
                     bool add_eos) {
  Json config = Json::object();
  for (const NamedId& name : kNamedIds) {
    const std::optional<int64_t> id = vocab.Find(name.gguf);
    if (id && name.config != nullptr) config[name.config] = vocab.tokens[static_cast<size_t>(*id)];
  }
  config["add_bos_token"] = add_bos;
  config["add_eos_token"] = add_eos;
  config["clean_up_tokenization_spaces"] = false;
  const std::string context = metadata.StringOr("general.architecture", "") + ".context_length";
  if (metadata.Has(context)) {
    config["model_max_length"] = metadata.Int(context, 1, std::numeric_limits<int32_t>::max());
  }
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  return config;
}

// llama.cpp takes "default" where the file says nothing, and warns that answers will be bad.
std::string PreTokenizerName(const JsonFields& metadata, std::string_view named) {
  if (!named.empty()) return std::string(named);
  constexpr std::string_view kKey = "tokenizer.ggml.pre";
  if (metadata.Has(kKey)) return metadata.String(kKey);
  throw Error(
      "{}: {} is missing: --pre-tokenizer must name the kind of the model, for example llama-bpe, "
      "qwen2, gpt-2 or default",
      metadata.where(), kKey);
}

// "tokenizer.chat_template", and "tokenizer.chat_template.NAME" of others beside it.
std::map<std::string, std::string> ReadChatTemplates(const Json& metadata,
                                                     const JsonFields& fields) {
  constexpr std::string_view kKey = "tokenizer.chat_template";
  std::map<std::string, std::string> templates;
  for (const auto& [key, value] : metadata.items()) {
    if (!key.starts_with(kKey) || value.is_null()) continue;
    const std::string_view name = std::string_view(key).substr(kKey.size());
    if (name.empty()) templates["default"] = fields.String(key);
    if (name.starts_with('.')) templates[std::string(name.substr(1))] = fields.String(key);
  }
  return templates;
}

// BOS, if it stands before texts.
std::optional<int64_t> Bos(const JsonFields& metadata, const GgufVocab& vocab, bool wanted) {
  if (!wanted) return std::nullopt;
  if (const std::optional<int64_t> id = vocab.Find("bos")) return id;
  return metadata.Int("tokenizer.ggml.bos_token_id", 0, std::ssize(vocab.tokens) - 1);
}

Json ByteLevelTokenizer(const JsonFields& metadata, const GgufVocab& vocab,
                        const GgufPreTokenizer& known, bool add_bos, bool add_eos) {
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  const Json specials = PostProcessorJson(vocab, Bos(metadata, vocab, add_bos),
                                          add_eos ? vocab.Find("eos") : std::nullopt);
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", AddedTokensJson(vocab)},
          {"normalizer", known.nfc ? Json{{"type", "NFC"}} : Json(nullptr)},
          {"pre_tokenizer", known.pre_tokenizer()},
          {"post_processor", specials.is_null() ? byte_level : specials},
          {"decoder", byte_level},
          {"model", BpeModel(vocab, metadata, known.ignore_merges)}};
}

SentencePieceMethod ReadMethod(const JsonFields& metadata, bool unigram) {
  SentencePieceMethod method{.unigram = unigram, .character_map = {}};
  method.removes_spaces =
      metadata.BoolOr("tokenizer.ggml.remove_extra_whitespaces", /*otherwise=*/false);
  const std::string name = "tokenizer.ggml.precompiled_charsmap";
  if (!metadata.Has(name)) return method;
  for (const Json& byte : metadata.Array(name)) {
    // Signed in older files.
    const int64_t value = byte.is_number_integer() ? byte.get<int64_t>() : 256;
    if (value < -128 || value > 255) {
      throw Error("{}: {}: expected bytes, found others", metadata.where(), name);
    }
    method.character_map += static_cast<char>(value);
  }
  return method;
}

}  // namespace

TokenizerFiles TokenizerFilesFromGguf(const Json& metadata, std::string where,
                                      std::string_view pre_tokenizer) {
  const JsonFields fields(metadata, where);
  const std::string model = fields.String("tokenizer.ggml.model");
  const bool unigram = model == "t5";
  const bool sentencepiece = model == "llama" || unigram;
  if (!sentencepiece && model != "gpt2") {
    throw Error(
        "{}: tokenizer.ggml.model: '{}' is not supported; known are gpt2 (byte-level BPE), llama "
        "and t5 (BPE and Unigram of SentencePiece)",
        where, model);
  }
  const GgufPreTokenizer* known = nullptr;
  if (!sentencepiece) {
    known = &FindGgufPreTokenizer(PreTokenizerName(fields, pre_tokenizer),
                                  where + ": tokenizer.ggml.pre");
  }
  const GgufVocab vocab = ReadVocab(fields, /*has_usual_ids=*/model == "llama");
  const bool add_bos = fields.BoolOr("tokenizer.ggml.add_bos_token",
                                     model == "llama" || (known != nullptr && known->add_bos));
  const bool add_eos = fields.BoolOr("tokenizer.ggml.add_eos_token", false);
  TokenizerFiles files;
  if (sentencepiece) {
    files.tokenizer = SentencePieceTokenizerJson(
        vocab,
        {.method = ReadMethod(fields, unigram),
         .unknown = vocab.Find("unknown"),
         .bos = Bos(fields, vocab, add_bos),
         .eos = add_eos ? vocab.Find("eos") : std::nullopt,
         .add_prefix_space = fields.BoolOr("tokenizer.ggml.add_space_prefix", true)},
        where + ": tokenizer.ggml.tokens");
  } else {
    files.tokenizer = ByteLevelTokenizer(fields, vocab, *known, add_bos, add_eos);
  }
  files.tokenizer_config = TokenizerConfig(vocab, fields, add_bos, add_eos);
  files.chat_templates = ReadChatTemplates(metadata, fields);
  if (!files.chat_templates.empty()) {
    files.tokenizer_config["chat_template"] = ChatTemplatesJson(files.chat_templates);
  }
  files.where = std::move(where);
  return files;
}

}  // namespace fptq
