#include "quant/companions.h"

#include <algorithm>

#include "base/atomic_write.h"
#include "base/json_file.h"
#include "base/mapped_file.h"
#include "base/paths.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kCompanions[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "generation_config.json",
};

// From the metadata of a GGUF file.
void MakeCompanions(const ModelSource& source, const TokenizerFiles& tokenizer,
                    const fs::path& folder) {
  WriteJsonFile(folder / "tokenizer.json", tokenizer.tokenizer);
  Json tokenizer_config = tokenizer.tokenizer_config;
  if (!tokenizer.chat_template.empty()) {
    tokenizer_config["chat_template"] = tokenizer.chat_template;
  }
  WriteJsonFile(folder / "tokenizer_config.json", tokenizer_config);
  const ModelConfig& config = source.config();
  Json generation = Json::object();
  if (config.bos_token >= 0) generation["bos_token_id"] = config.bos_token;
  if (!config.eos_tokens.empty()) generation["eos_token_id"] = config.eos_tokens;
  WriteJsonFile(folder / "generation_config.json", generation);
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

void WriteCompanions(const ModelSource& source, const TokenizerFiles& tokenizer,
                     const fs::path& folder) {
  if (source.checkpoint().format() == Checkpoint::Format::kHuggingFace) {
    for (const fs::path& path : CompanionFiles(source)) {
      const MappedFile file(path);
      OutputFile copy(folder / path.filename());
      copy.Write(file.bytes());
      copy.Close();
    }
  } else {
    MakeCompanions(source, tokenizer, folder);
  }
}

}  // namespace fptq
