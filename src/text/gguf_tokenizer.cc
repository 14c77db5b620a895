#include <algorithm>
#include <limits>
#include <vector>

#include "base/error.h"
#include "text/bpe.h"
#include "text/gguf_pre_tokenizer.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace fptq {
namespace {

struct NamedToken {
  const char* gguf;    // tokenizer.ggml.GGUF_token_id
  const char* config;  // field of tokenizer_config.json
};
constexpr NamedToken kNamedTokens[] = {
    {"bos", "bos_token"}, {"eos", "eos_token"}, {"unknown", "unk_token"}, {"padding", "pad_token"}};

struct GgufVocab : Vocabulary {
  Json names = Json::object();  // "bos_token": content, ...
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

GgufVocab ReadVocab(const JsonFields& metadata) {
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
  for (const NamedToken& name : kNamedTokens) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name.gguf);
    if (!metadata.Has(key)) continue;
    const auto id =
        static_cast<size_t>(metadata.Int(key, 0, static_cast<int64_t>(vocab.tokens.size()) - 1));
    vocab.types[id] = TokenType::kControl;
    vocab.names[name.config] = vocab.tokens[id];
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
  Json config = vocab.names;
  config["add_bos_token"] = add_bos;
  config["add_eos_token"] = add_eos;
  config["clean_up_tokenization_spaces"] = false;
  const std::string context = metadata.StringOr("general.architecture", "") + ".context_length";
  if (metadata.Has(context)) {
    config["model_max_length"] = metadata.Int(context, 1, std::numeric_limits<int32_t>::max());
  }
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  if (metadata.Has("tokenizer.chat_template")) {
    config["chat_template"] = metadata.String("tokenizer.chat_template");
  }
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

// The id that the metadata names for a purpose, or none if it is not wanted.
std::optional<int64_t> SpecialToken(const JsonFields& metadata, const GgufVocab& vocab, bool wanted,
                                    std::string_view name) {
  if (!wanted) return std::nullopt;
  return metadata.Int(fmt::format("tokenizer.ggml.{}_token_id", name), 0,
                      std::ssize(vocab.tokens) - 1);
}

Json ByteLevelTokenizer(const JsonFields& metadata, const GgufVocab& vocab,
                        const GgufPreTokenizer& known, bool add_bos, bool add_eos) {
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  const Json specials = PostProcessorJson(vocab, SpecialToken(metadata, vocab, add_bos, "bos"),
                                          SpecialToken(metadata, vocab, add_eos, "eos"));
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

}  // namespace

TokenizerFiles TokenizerFilesFromGguf(const Json& metadata, std::string where,
                                      std::string_view pre_tokenizer) {
  const JsonFields fields(metadata, where);
  const std::string model = fields.String("tokenizer.ggml.model");
  const bool sentencepiece = model == "llama";
  if (!sentencepiece && model != "gpt2") {
    throw Error(
        "{}: tokenizer.ggml.model: '{}' is not supported; known are gpt2 (byte-level BPE) and "
        "llama (SentencePiece)",
        where, model);
  }
  const GgufPreTokenizer* known = nullptr;
  if (!sentencepiece) {
    known = &FindGgufPreTokenizer(PreTokenizerName(fields, pre_tokenizer),
                                  where + ": tokenizer.ggml.pre");
  }
  const GgufVocab vocab = ReadVocab(fields);
  const bool add_bos =
      fields.BoolOr("tokenizer.ggml.add_bos_token", sentencepiece || known->add_bos);
  const bool add_eos = fields.BoolOr("tokenizer.ggml.add_eos_token", false);
  TokenizerFiles files;
  if (sentencepiece) {
    const bool has_unknown = fields.Has("tokenizer.ggml.unknown_token_id");
    files.tokenizer = SentencePieceTokenizerJson(
        vocab,
        {.unknown = SpecialToken(fields, vocab, has_unknown, "unknown"),
         .bos = SpecialToken(fields, vocab, add_bos, "bos"),
         .eos = SpecialToken(fields, vocab, add_eos, "eos"),
         .add_prefix_space = fields.BoolOr("tokenizer.ggml.add_space_prefix", true)},
        where + ": tokenizer.ggml.tokens");
  } else {
    files.tokenizer = ByteLevelTokenizer(fields, vocab, *known, add_bos, add_eos);
  }
  files.tokenizer_config = TokenizerConfig(vocab, fields, add_bos, add_eos);
  files.chat_template = fields.StringOr("tokenizer.chat_template", "");
  files.where = std::move(where);
  return files;
}

}  // namespace fptq
