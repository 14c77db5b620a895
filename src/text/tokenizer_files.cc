#include "base/error.h"
#include "base/mapped_file.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

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

// Tokens that tokenizer_config.json adds to those of tokenizer.model, or marks as special there.
void AddTokens(const Json& config, const std::string& where, Json& added_tokens) {
  const JsonFields fields(config, where);
  if (!fields.Has("added_tokens_decoder")) return;
  for (const auto& [id, token] : fields.Object("added_tokens_decoder").items()) {
    Json added = {{"id", ParseJson(id, where + ": added_tokens_decoder")}};
    added.update(token);
    std::erase_if(added_tokens.get_ref<Json::array_t&>(),
                  [&](const Json& other) { return other["id"] == added["id"]; });
    added_tokens.push_back(std::move(added));
  }
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
      {.unknown = model.unknown,
       .bos = add_bos ? model.bos : std::nullopt,
       .eos = add_eos ? model.eos : std::nullopt,
       .add_prefix_space = fields.BoolOr("add_prefix_space", model.add_dummy_prefix),
       .prefix_at_start_only = !fields.BoolOr("legacy", false)},
      path.string());
  AddTokens(config, where, tokenizer["added_tokens"]);
  return tokenizer;
}

}  // namespace

TokenizerFiles LoadTokenizerFiles(const fs::path& folder) {
  TokenizerFiles files;
  files.where = folder.string();
  files.tokenizer_config = Json::object();
  if (const auto path = folder / "tokenizer_config.json"; fs::exists(path)) {
    files.tokenizer_config = ReadJsonFile(path);
  }
  if (fs::exists(folder / "tokenizer.json") || !fs::exists(folder / "tokenizer.model")) {
    files.tokenizer = ReadJsonFile(folder / "tokenizer.json");
  } else {
    files.tokenizer = TokenizerFromModel(folder / "tokenizer.model", files.tokenizer_config);
  }
  if (const auto path = folder / "chat_template.jinja"; fs::exists(path)) {
    const MappedFile file(path);
    files.chat_template.assign(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  } else {
    files.chat_template =
        ChatTemplateText(files.tokenizer_config, (folder / "tokenizer_config.json").string());
  }
  return files;
}

}  // namespace fptq
