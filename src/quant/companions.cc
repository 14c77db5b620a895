#include "quant/companions.h"

#include <algorithm>

#include "base/atomic_write.h"
#include "base/json_file.h"
#include "base/mapped_file.h"
#include "base/paths.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kGenerationConfig = "generation_config.json";
constexpr std::string_view kTokenizerConfig = "tokenizer_config.json";
constexpr std::string_view kChatTemplate = "chat_template.jinja";
constexpr std::string_view kCompanions[] = {
    "tokenizer.json",     kTokenizerConfig,  "special_tokens_map.json", "added_tokens.json",
    "vocab.json",         "merges.txt",      "tokenizer.model",         kChatTemplate,
    "chat_template.json", kGenerationConfig,
};

// From the metadata of a GGUF file.
void MakeCompanions(const ModelText& text, const fs::path& folder) {
  WriteJsonFile(folder / "tokenizer.json", text.files.tokenizer);
  WriteJsonFile(folder / kTokenizerConfig, text.files.tokenizer_config);
  Json generation = Json::object();
  WriteSpecialTokens(text.special_tokens, generation);
  WriteJsonFile(folder / kGenerationConfig, generation);
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
  return std::ranges::find(kCompanions, name) != std::end(kCompanions);
}

std::vector<fs::path> CompanionFiles(const ModelSource& source) {
  std::vector<fs::path> files;
  if (source.checkpoint().format() != Checkpoint::Format::kHuggingFace) return files;
  for (const std::string_view name : kCompanions) {
    const fs::path path = source.checkpoint().path() / name;
    if (Exists(path)) files.push_back(path);
  }
  return files;
}

void WriteCompanions(const ModelSource& source, const ModelText& text, const fs::path& folder) {
  if (source.checkpoint().format() != Checkpoint::Format::kHuggingFace) {
    return MakeCompanions(text, folder);
  }
  // Several chat templates have a folder of their own; they are written into the config instead.
  const bool several = text.files.chat_templates.size() > 1;
  for (const fs::path& path : CompanionFiles(source)) {
    const fs::path name = path.filename(), to = folder / name;
    if (name == kGenerationConfig) {
      CopyGenerationConfig(path, text.special_tokens, to);
    } else if (several && name == kTokenizerConfig) {
      Json config = text.files.tokenizer_config;
      config["chat_template"] = ChatTemplatesJson(text.files.chat_templates);
      WriteJsonFile(to, config);
    } else if (!several || name != kChatTemplate) {
      CopyFile(path, to);
    }
  }
}

}  // namespace fptq
