#include "cli/load.h"

#include <map>

#include "cli/terminal.h"

namespace fptq {

void AddPreTokenizer(CLI::App& app, std::string& name) {
  app.add_option("--pre-tokenizer", name,
                 "how a GGUF file's tokenizer cuts text into words, as llama.cpp names it: "
                 "llama-bpe, qwen2, gpt-2, ... (default: what the file says)");
}

void AddActivations(CLI::App& app, FloatForm& form) {
  const std::map<std::string, FloatForm> forms = {{"float", FloatForm::kFloat32},
                                                  {"int8", FloatForm::kInt8}};
  app.add_option(
         "--activations", form,
         "of linears whose activations MODEL does not quantize: float, or int8 with dynamic "
         "scales, where integer weights stay as they are and float ones are rounded to 8 bits "
         "(default: float)")
      ->transform(CLI::CheckedTransformer(forms).description("{float,int8}"));
}

ModelLocation Locate(const std::string& path, const std::string& pre_tokenizer,
                     const std::string& other) {
  const auto is_folder = [](const std::string& model) {
    std::error_code ignored;
    return std::filesystem::is_directory(model, ignored);
  };
  const bool is_for_other = is_folder(path) && !other.empty() && !is_folder(other);
  return {path, is_for_other ? "" : pre_tokenizer};
}

std::shared_ptr<const Model> LoadModelAndWarn(const ModelLocation& location, ThreadPool& pool,
                                              FloatForm form) {
  auto model = LoadModel(location, pool, form);
  NoteWarnings(model->warnings);
  return model;
}

ModelSource OpenSourceAndWarn(const ModelLocation& location) {
  ModelSource source = ModelSource::Open(location);
  NoteWarnings(source.warnings());
  return source;
}

}  // namespace fptq
