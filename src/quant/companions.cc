#include "quant/companions.h"

#include "base/atomic_write.h"
#include "base/mapped_file.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

void WriteJson(const fs::path& path, const Json& json) {
  WriteFileAtomically(path, json.dump(2, ' ', /*ensure_ascii=*/false) + "\n");
}

// From the metadata of a GGUF file.
void MakeCompanions(const ModelSource& source, const TokenizerFiles& tokenizer,
                    const fs::path& folder) {
  WriteJson(folder / "tokenizer.json", tokenizer.tokenizer);
  Json tokenizer_config = tokenizer.tokenizer_config;
  if (!tokenizer.chat_template.empty()) {
    tokenizer_config["chat_template"] = tokenizer.chat_template;
  }
  WriteJson(folder / "tokenizer_config.json", tokenizer_config);
  const ModelConfig& config = source.config();
  Json generation = Json::object();
  if (config.bos_token >= 0) generation["bos_token_id"] = config.bos_token;
  if (!config.eos_tokens.empty()) generation["eos_token_id"] = config.eos_tokens;
  WriteJson(folder / "generation_config.json", generation);
}

}  // namespace

std::vector<fs::path> CompanionFiles(const ModelSource& source) {
  std::vector<fs::path> files;
  if (source.checkpoint().format() != Checkpoint::Format::kHuggingFace) return files;
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model",
                           "chat_template.jinja", "generation_config.json"}) {
    const fs::path path = source.checkpoint().path() / name;
    std::error_code error;
    if (fs::exists(path, error)) files.push_back(path);
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
