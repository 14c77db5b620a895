#include "quant/run/companions.h"

#include <algorithm>
#include <string>
#include <utility>

#include "files/atomic_write.h"
#include "files/json_file.h"
#include "files/mapped_file.h"
#include "files/paths.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kGenerationConfig = "generation_config.json";
constexpr std::string_view kTokenizer = "tokenizer.json";
constexpr std::string_view kTokenizerConfig = "tokenizer_config.json";
constexpr std::string_view kChatTemplate = "chat_template.jinja";
constexpr std::string_view kCompanions[] = {
    kTokenizer,           kTokenizerConfig,  "special_tokens_map.json", "added_tokens.json",
    "vocab.json",         "merges.txt",      "tokenizer.model",         kChatTemplate,
    "chat_template.json", kGenerationConfig,
    "tekken.json",  // Mistral's own tokenizer, which some readers prefer
};
constexpr std::string_view kMistralPrefix = "tokenizer.model.v";  // likewise
// Of models of more than text; AutoProcessor reads them.
constexpr std::string_view kProcessors[] = {
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
};

// From the metadata of a GGUF file.
void MakeCompanions(const ModelText& text, const fs::path& folder) {
  WriteJsonFile(folder / kTokenizer, text.files.tokenizer);
  WriteJsonFile(folder / kTokenizerConfig, text.files.tokenizer_config);
  Json generation = Json::object();
  WriteSpecialTokens(text.special_tokens, generation);
  WriteJsonFile(folder / kGenerationConfig, generation);
}

bool IsProcessor(std::string_view name) {
  return std::ranges::find(kProcessors, name) != std::end(kProcessors);
}

// Whether the "auto_map" of a file names code for `what`.
bool NeedsCode(const Json& config, std::string_view what) {
  return config.is_object() && config.contains("auto_map") && config["auto_map"].is_object() &&
         config["auto_map"].contains(what);
}

// "module.Name", or several of them, or null in their place.
bool NamesClass(const Json& code, const std::string& name) {
  if (code.is_array()) {
    return std::ranges::any_of(code, [&](const Json& one) { return NamesClass(one, name); });
  }
  if (!code.is_string()) return false;
  const auto& path = code.get_ref<const std::string&>();
  const std::string found = path.substr(path.rfind('.') + 1);
  return found == name || found == name + "Fast";
}

// tokenizer_config.json without the code of the source. A class that is defined there gives way to
// the one that takes everything from tokenizer.json, which is then written if it is missing.
void WriteTokenizerConfig(Json config, const Json& tokenizer, const fs::path& folder) {
  if (NeedsCode(config, "AutoProcessor")) config.erase("processor_class");
  if (NeedsCode(config, "AutoTokenizer") && config.contains("tokenizer_class") &&
      config["tokenizer_class"].is_string() &&
      NamesClass(config["auto_map"]["AutoTokenizer"],
                 config["tokenizer_class"].get<std::string>())) {
    config["tokenizer_class"] = "PreTrainedTokenizerFast";
    if (!Exists(folder / kTokenizer)) WriteJsonFile(folder / kTokenizer, tokenizer);
  }
  config.erase("auto_map");
  WriteJsonFile(folder / kTokenizerConfig, config);
}

void CopyGenerationConfig(const fs::path& from, const SpecialTokens& special, const fs::path& to) {
  Json generation = ReadJsonFile(from);
  WriteSpecialTokens(special, generation);
  WriteJsonFile(to, generation);
}

void CopyFile(const fs::path& from, const fs::path& to) {
  const MappedFile file(from);
  OutputFile copy(to);
  copy.Write(file.bytes());
  copy.Close();
}

}  // namespace

bool IsCompanion(std::string_view name) {
  return std::ranges::find(kCompanions, name) != std::end(kCompanions) || IsProcessor(name) ||
         name.starts_with(kMistralPrefix);
}

std::vector<fs::path> CompanionFiles(const ModelSource& source) {
  std::vector<fs::path> files;
  if (source.checkpoint().format() != Checkpoint::Format::kHuggingFace) return files;
  for (const fs::path& path : EntriesOf(source.checkpoint().path())) {
    if (IsCompanion(path.filename().string()) && !IsFolder(path)) files.push_back(path);
  }
  return files;
}

void WriteCompanions(const ModelSource& source, const ModelText& text, const fs::path& folder) {
  if (source.checkpoint().format() != Checkpoint::Format::kHuggingFace) {
    return MakeCompanions(text, folder);
  }
  // Several chat templates have a folder of their own; they are written into the config instead.
  const bool several = text.files.chat_templates.size() > 1;
  for (const fs::path& path : CompanionFiles(source)) {  // tokenizer.json first
    const fs::path name = path.filename(), to = folder / name;
    if (name == kGenerationConfig) {
      CopyGenerationConfig(path, text.special_tokens, to);
    } else if (name == kTokenizerConfig && (several || ReadJsonFile(path).contains("auto_map"))) {
      Json config = several ? text.files.tokenizer_config : ReadJsonFile(path);
      if (several) config["chat_template"] = ChatTemplatesJson(text.files.chat_templates);
      WriteTokenizerConfig(std::move(config), text.files.tokenizer, folder);
    } else if (IsProcessor(name.string()) && ReadJsonFile(path).contains("auto_map")) {
      continue;
    } else if (!several || name != kChatTemplate) {
      CopyFile(path, to);
    }
  }
}

}  // namespace fptq
