#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "files/json_file.h"
#include "files/mapped_file.h"
#include "files/paths.h"
#include "files/text_file.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNamedTokens[] = {"bos_token", "eos_token", "unk_token", "pad_token"};

std::string NamedToken(const JsonFields& config, const Json& json, const std::string& name) {
  if (!config.Has(name)) return "";
  const Json& token = json.at(name);
  if (!token.is_object()) return config.String(name);
  return JsonFields(token, config.where() + ": " + name).String("content");
}

std::string ReadText(const fs::path& path) { return std::string(TextFile(path).text()); }

using ChatTemplates = std::map<std::string, std::string>;

// The field "chat_template": a text, or a list of named ones.
ChatTemplates ParseChatTemplates(const Json& json, const std::string& where) {
  const JsonFields config(json, where);
  if (!config.Has("chat_template")) return {};
  if (!json.at("chat_template").is_array()) return {{"default", config.String("chat_template")}};
  ChatTemplates templates;
  for (const Json& entry : config.Array("chat_template")) {
    const JsonFields fields(entry, where + ": chat_template");
    templates[fields.String("name")] = fields.String("template");
  }
  return templates;
}

// Files of their own take the place of what tokenizer_config.json has; chat_template.json is what
// models of text and images had.
ChatTemplates ReadChatTemplates(const fs::path& folder, const Json& config) {
  ChatTemplates templates;
  if (const auto path = folder / "chat_template.jinja"; Exists(path)) {
    templates["default"] = ReadText(path);
  }
  if (const auto more = folder / "additional_chat_templates"; IsFolder(more)) {
    for (const fs::path& path : EntriesOf(more)) {
      if (path.extension() == ".jinja") templates[path.stem().string()] = ReadText(path);
    }
  }
  if (templates.empty()) {
    templates = ParseChatTemplates(config, (folder / "tokenizer_config.json").string());
  }
  if (const auto path = folder / "chat_template.json"; templates.empty() && Exists(path)) {
    templates = ParseChatTemplates(ReadJsonFile(path), path.string());
  }
  return templates;
}

// Tokens that tokenizer_config.json adds to those of the vocabulary, or marks as special there.
void AddTokens(const Json& config, const std::string& where, Json& added_tokens) {
  const JsonFields fields(config, where);
  if (!fields.Has("added_tokens_decoder")) return;
  Json all = Json::array();
  std::set<std::string> ids;
  for (const auto& [id, token] : fields.Object("added_tokens_decoder").items()) {
    if (!token.is_object()) {
      throw Error("{}: added_tokens_decoder: '{}': expected an object, found {}", where, id,
                  token.type_name());
    }
    Json added = {{"id", ParseJson(id, where + ": added_tokens_decoder")}};
    added.update(token);
    ids.insert(added["id"].dump());
    all.push_back(std::move(added));
  }
  for (Json& token : added_tokens) {
    if (!ids.contains(token["id"].dump())) all.push_back(std::move(token));
  }
  added_tokens = std::move(all);
}

// tokenizer.json made from tokenizer.model and tokenizer_config.json.
Json TokenizerFromModel(const fs::path& path, const Json& config) {
  const MappedFile file(path);
  const SentencePieceModel model = ParseSentencePieceModel(file.bytes(), path.string());
  const std::string where = (path.parent_path() / "tokenizer_config.json").string();
  const JsonFields fields(config, where);
  const bool add_bos = fields.BoolOr("add_bos_token", true);
  const bool add_eos = fields.BoolOr("add_eos_token", false);
  Json tokenizer = SentencePieceTokenizerJson(
      model.vocabulary,
      {.method = model.method,
       .unknown = model.unknown,
       .bos = add_bos ? model.bos : std::nullopt,
       .eos = add_eos ? model.eos : std::nullopt,
       .add_prefix_space = fields.BoolOr("add_prefix_space", model.add_dummy_prefix),
       .prefix_at_start_only = !fields.BoolOr("legacy", false)},
      path.string());
  AddTokens(config, where, tokenizer["added_tokens"]);
  return tokenizer;
}

// The lines "a b" of merges.txt.
Json ReadMerges(const fs::path& path) {
  Json merges = Json::array();
  const std::string text = ReadText(path);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty() && !line.starts_with("#version")) merges.push_back(std::move(line));
    begin = end + 1;
  }
  return merges;
}

// tokenizer.json made from vocab.json and merges.txt, which GPT-2 and OPT have.
Json TokenizerFromMerges(const fs::path& folder, const Json& config) {
  const JsonFields fields(config, (folder / "tokenizer_config.json").string());
  const std::string type = fields.StringOr("tokenizer_class", "GPT2Tokenizer");
  if (type != "GPT2Tokenizer" && type != "GPT2TokenizerFast") {
    throw Error("{}: tokenizer_class: vocab.json and merges.txt of '{}' need a tokenizer.json",
                fields.where(), type);
  }
  const Json vocab = ReadJsonFile(folder / "vocab.json");
  if (!vocab.is_object()) {
    throw Error("{}: expected an object, found {}", (folder / "vocab.json").string(),
                vocab.type_name());
  }
  Json byte_level = {{"type", "ByteLevel"},
                     {"add_prefix_space", fields.BoolOr("add_prefix_space", false)},
                     {"trim_offsets", true},
                     {"use_regex", true}};
  Json added = Json::array();
  std::set<std::string> contents;
  for (const char* name : kNamedTokens) {
    const std::string content = NamedToken(fields, config, name);
    const auto id = vocab.find(content);
    if (id == vocab.end() || !contents.insert(content).second) continue;
    added.push_back({{"id", *id}, {"content", content}, {"special", true}, {"normalized", true}});
  }
  AddTokens(config, fields.where(), added);
  Json post_processor = byte_level;
  const std::string bos = NamedToken(fields, config, "bos_token");
  if (fields.BoolOr("add_bos_token", false) && vocab.contains(bos)) {
    post_processor = {
        {"type", "TemplateProcessing"},
        {"single", {{{"SpecialToken", {{"id", bos}}}}, {{"Sequence", {{"id", "A"}}}}}},
        {"special_tokens", {{bos, {{"id", bos}, {"ids", Json::array({vocab.at(bos)})}}}}}};
  }
  return {{"version", "1.0"},
          {"added_tokens", std::move(added)},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", std::move(post_processor)},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"}, {"vocab", vocab}, {"merges", ReadMerges(folder / "merges.txt")}}}};
}

Json ReadTokenizerConfig(const fs::path& folder) {
  Json config = Json::object();
  if (const auto path = folder / "tokenizer_config.json"; Exists(path)) {
    config = ReadJsonFile(path);
    JsonFields(config, path.string());  // an object
  }
  if (const auto path = folder / "special_tokens_map.json"; Exists(path)) {
    const Json names = ReadJsonFile(path);
    const JsonFields fields(names, path.string());
    for (const char* name : kNamedTokens) {
      if (fields.Has(name) && !config.contains(name)) config[name] = names.at(name);
    }
  }
  return config;
}

Json ReadTokenizer(const fs::path& folder, const Json& config) {
  const auto has = [&](const char* name) { return Exists(folder / name); };
  if (!has("tokenizer.json") && has("tokenizer.model")) {
    return TokenizerFromModel(folder / "tokenizer.model", config);
  }
  if (!has("tokenizer.json") && has("vocab.json") && has("merges.txt")) {
    return TokenizerFromMerges(folder, config);
  }
  return ReadJsonFile(folder / "tokenizer.json");
}

}  // namespace

std::string NamedToken(const TokenizerFiles& files, const std::string& name) {
  const JsonFields config(files.tokenizer_config, files.where + ": tokenizer_config.json");
  return NamedToken(config, files.tokenizer_config, name);
}

Json ChatTemplatesJson(const ChatTemplates& templates) {
  if (templates.size() == 1 && templates.contains("default")) return templates.at("default");
  Json list = Json::array();
  for (const auto& [name, text] : templates) list.push_back({{"name", name}, {"template", text}});
  return list;
}

TokenizerFiles LoadTokenizerFiles(const fs::path& folder) {
  TokenizerFiles files;
  files.where = folder.string();
  files.tokenizer_config = ReadTokenizerConfig(folder);
  files.tokenizer = ReadTokenizer(folder, files.tokenizer_config);
  files.chat_templates = ReadChatTemplates(folder, files.tokenizer_config);
  return files;
}

}  // namespace fptq
