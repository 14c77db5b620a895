#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "base/mapped_file.h"
#include "text/bpe.h"
#include "text/tokenizer.h"

namespace fptq {
namespace {

// Meanings of `tokenizer.ggml.token_type`.
enum GgufTokenType : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4 };

constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

Json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json Sequence(Json first) {
  const bool use_regex = first["type"] != "Split";  // a Split has cut the words already
  return {{"type", "Sequence"},
          {"pretokenizers", Json::array({std::move(first), ByteLevel(use_regex)})}};
}

Json SplitBefore(const char* pattern) {
  return Sequence({{"type", "Split"},
                   {"pattern", {{"Regex", pattern}}},
                   {"behavior", "Isolated"},
                   {"invert", false}});
}

Json Gpt2() { return ByteLevel(/*use_regex=*/true); }
Json DigitsThenGpt2() { return Sequence({{"type", "Digits"}, {"individual_digits", true}}); }
Json Qwen2() { return SplitBefore(kQwen2Pattern); }
Json Llama3() { return SplitBefore(kLlama3Pattern); }

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

struct GgufVocab {
  std::vector<std::string> tokens;
  std::vector<int64_t> types;
  Json names = Json::object();  // "bos_token": content, ...
};

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
  vocab.types.assign(tokens.size(), kNormal);
  if (metadata.Has("tokenizer.ggml.token_type")) {
    const Json& types = metadata.Array("tokenizer.ggml.token_type");
    const auto is_integer = [](const Json& type) { return type.is_number_integer(); };
    if (types.size() != tokens.size() || !std::all_of(types.begin(), types.end(), is_integer)) {
      throw Error("{}: tokenizer.ggml.token_type: expected {} integers, found {} values",
                  metadata.where(), tokens.size(), types.size());
    }
    vocab.types = types.get<std::vector<int64_t>>();
  }
  for (const NamedToken& name : kNamedTokens) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name.gguf);
    if (!metadata.Has(key)) continue;
    const auto id =
        static_cast<size_t>(metadata.Int(key, 0, static_cast<int64_t>(vocab.tokens.size()) - 1));
    vocab.types[id] = kControl;
    vocab.names[name.config] = vocab.tokens[id];
  }
  return vocab;
}

Json AddedTokens(const GgufVocab& vocab) {
  Json added = Json::array();
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const int64_t type = vocab.types[id];
    if (type != kControl && type != kUnknown && type != kUserDefined) continue;
    added.push_back({{"id", id},
                     {"content", vocab.tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", type != kUserDefined}});
  }
  return added;
}

Json BpeModel(const GgufVocab& vocab, const JsonFields& metadata, bool ignore_merges) {
  // Appended, not assigned by name: an ordered object is searched from its start at each look-up.
  Json::object_t ids;
  ids.reserve(vocab.tokens.size());
  StringMap<size_t> seen;
  for (size_t id = 0; id < vocab.tokens.size(); ++id) {
    const auto [it, is_new] = seen.emplace(vocab.tokens[id], id);
    if (!is_new) {
      throw Error("{}: tokenizer.ggml.tokens: tokens {} and {} are both '{}'", metadata.where(),
                  it->second, id, vocab.tokens[id]);
    }
    ids.emplace_back(vocab.tokens[id], id);
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", ignore_merges},
          {"vocab", std::move(ids)},
          {"merges", metadata.Array("tokenizer.ggml.merges")}};
}

// Puts BOS before a text and EOS after it, as far as the model wants them.
Json PostProcessor(const GgufVocab& vocab, const JsonFields& metadata, bool add_bos, bool add_eos) {
  if (!add_bos && !add_eos) return ByteLevel(/*use_regex=*/true);
  Json special_tokens = Json::object();
  const auto special = [&](const char* name, const char* key) -> Json {
    const int64_t id = metadata.Int(key, 0, kMaxTokenIds - 1);
    const std::string token = vocab.names[name];
    special_tokens[token] = {
        {"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}};
    return {{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
  };
  Json single = Json::array();
  if (add_bos) single.push_back(special("bos_token", "tokenizer.ggml.bos_token_id"));
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (add_eos) single.push_back(special("eos_token", "tokenizer.ggml.eos_token_id"));
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", Json::array({{{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                                {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}})},
          {"special_tokens", special_tokens}};
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

// The template in tokenizer_config.json: its text, or a list of named ones, of which we take
// "default".
std::string ChatTemplateText(const Json& json, const std::string& where) {
  const JsonFields config(json, where);
  if (!config.Has("chat_template")) return "";
  if (json.at("chat_template").is_string()) return config.String("chat_template");
  for (const Json& entry : config.Array("chat_template")) {
    const JsonFields fields(entry, config.where() + ": chat_template");
    if (fields.String("name") == "default") return fields.String("template");
  }
  return "";
}

}  // namespace

TokenizerFiles LoadTokenizerFiles(const std::filesystem::path& folder) {
  TokenizerFiles files;
  files.where = folder.string();
  files.tokenizer = ReadJsonFile(folder / "tokenizer.json");
  files.tokenizer_config = Json::object();
  if (const auto path = folder / "tokenizer_config.json"; std::filesystem::exists(path)) {
    files.tokenizer_config = ReadJsonFile(path);
  }
  if (const auto path = folder / "chat_template.jinja"; std::filesystem::exists(path)) {
    const MappedFile file(path);
    files.chat_template.assign(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  } else {
    files.chat_template =
        ChatTemplateText(files.tokenizer_config, (folder / "tokenizer_config.json").string());
  }
  return files;
}

TokenizerFiles TokenizerFilesFromGguf(const Json& metadata, std::string where) {
  const JsonFields fields(metadata, where);
  if (const std::string model = fields.String("tokenizer.ggml.model"); model != "gpt2") {
    throw Error("{}: tokenizer.ggml.model: '{}' is not supported; only gpt2 (byte-level BPE) is",
                where, model);
  }
  const KnownPreTokenizer& known = FindPreTokenizer(fields);
  const GgufVocab vocab = ReadVocab(fields);
  const bool add_bos = fields.BoolOr("tokenizer.ggml.add_bos_token", known.add_bos);
  const bool add_eos = fields.BoolOr("tokenizer.ggml.add_eos_token", false);
  TokenizerFiles files;
  files.tokenizer = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", AddedTokens(vocab)},
                     {"normalizer", known.nfc ? Json{{"type", "NFC"}} : Json(nullptr)},
                     {"pre_tokenizer", known.pre_tokenizer()},
                     {"post_processor", PostProcessor(vocab, fields, add_bos, add_eos)},
                     {"decoder", ByteLevel(/*use_regex=*/true)},
                     {"model", BpeModel(vocab, fields, known.ignore_merges)}};
  files.tokenizer_config = TokenizerConfig(vocab, fields, add_bos, add_eos);
  files.chat_template = fields.StringOr("tokenizer.chat_template", "");
  files.where = std::move(where);
  return files;
}

}  // namespace fptq
