#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "base/error.h"
#include "text/bpe.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace fptq {
namespace {

constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// In Oniguruma's syntax, where a class within a class adds to it.
constexpr const char* kBloomPattern = R"( ?[^(\s|[.,!?…。，、।۔،])]+)";

Json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json Sequence(std::vector<Json> steps, bool use_regex) {
  steps.push_back(ByteLevel(use_regex));
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

Json Split(const char* pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

Json DigitsThenGpt2() {
  return Sequence({{{"type", "Digits"}, {"individual_digits", true}}}, /*use_regex=*/true);
}
// What llama.cpp takes for models whose own it did not know.
Json Default() {
  return Sequence(
      {Split(R"([\p{P}\$\+<=>\^~\|]+)"),
       Split(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))"),
       Split(R"(\p{N}+)"), Split("[0-9][0-9][0-9]")},
      /*use_regex=*/false);
}
Json Gpt2() { return ByteLevel(/*use_regex=*/true); }
Json Qwen2() { return Sequence({Split(kQwen2Pattern)}, /*use_regex=*/false); }
Json Llama3() { return Sequence({Split(kLlama3Pattern)}, /*use_regex=*/false); }
Json Bloom() { return Sequence({Split(kBloomPattern)}, /*use_regex=*/false); }

// What a name of `tokenizer.ggml.pre` stands for.
struct KnownPreTokenizer {
  std::string_view name;
  Json (*pre_tokenizer)();
  bool nfc;
  bool ignore_merges;
  bool add_bos;  // unless the metadata says otherwise
};

constexpr std::array kKnownPreTokenizers = {
    KnownPreTokenizer{"gpt-2", Gpt2, false, false, false},
    KnownPreTokenizer{"phi-2", Gpt2, false, false, false},
    KnownPreTokenizer{"mpt", Gpt2, true, false, false},
    KnownPreTokenizer{"olmo", Gpt2, true, false, false},
    KnownPreTokenizer{"default", Default, false, false, false},
    KnownPreTokenizer{"bloom", Bloom, false, false, false},
    KnownPreTokenizer{"gpt3-finnish", Bloom, false, false, false},
    KnownPreTokenizer{"poro-chat", Bloom, false, false, false},
    KnownPreTokenizer{"smollm", DigitsThenGpt2, false, false, false},
    KnownPreTokenizer{"starcoder", DigitsThenGpt2, false, false, false},
    KnownPreTokenizer{"refact", DigitsThenGpt2, false, false, false},
    KnownPreTokenizer{"command-r", DigitsThenGpt2, true, false, false},
    KnownPreTokenizer{"qwen2", Qwen2, true, false, false},
    KnownPreTokenizer{"deepseek-r1-qwen", Qwen2, false, false, false},
    KnownPreTokenizer{"llama-bpe", Llama3, false, true, true},
    KnownPreTokenizer{"llama3", Llama3, false, true, true},
    KnownPreTokenizer{"llama-v3", Llama3, false, true, true},
};

const KnownPreTokenizer& FindPreTokenizer(const JsonFields& metadata) {
  const std::string name = metadata.StringOr("tokenizer.ggml.pre", "(none)");
  std::string known;
  for (const KnownPreTokenizer& row : kKnownPreTokenizers) {
    if (row.name == name) return row;
    known.append(known.empty() ? "" : ", ").append(row.name);
  }
  throw Error("{}: tokenizer.ggml.pre: '{}' is not supported; known are {}", metadata.where(), name,
              known);
}

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

// The id that the metadata names for a purpose, or none if it is not wanted.
std::optional<int64_t> SpecialToken(const JsonFields& metadata, const GgufVocab& vocab, bool wanted,
                                    std::string_view name) {
  if (!wanted) return std::nullopt;
  return metadata.Int(fmt::format("tokenizer.ggml.{}_token_id", name), 0,
                      std::ssize(vocab.tokens) - 1);
}

Json ByteLevelTokenizer(const JsonFields& metadata, const GgufVocab& vocab,
                        const KnownPreTokenizer& known, bool add_bos, bool add_eos) {
  const Json byte_level = ByteLevel(/*use_regex=*/true);
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

TokenizerFiles TokenizerFilesFromGguf(const Json& metadata, std::string where) {
  const JsonFields fields(metadata, where);
  const std::string model = fields.String("tokenizer.ggml.model");
  const bool sentencepiece = model == "llama";
  if (!sentencepiece && model != "gpt2") {
    throw Error(
        "{}: tokenizer.ggml.model: '{}' is not supported; known are gpt2 (byte-level BPE) and "
        "llama (SentencePiece)",
        where, model);
  }
  const KnownPreTokenizer* known = sentencepiece ? nullptr : &FindPreTokenizer(fields);
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
