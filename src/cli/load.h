// Opens what a subcommand works on.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "model/model.h"

namespace fptq {

// The option --pre-tokenizer, for subcommands that open GGUF files.
void AddPreTokenizer(CLI::App& app, std::string& name);

// The option --activations: how linears run whose activations the model does not quantize.
void AddActivations(CLI::App& app, FloatForm& form);

// Where a model is of which, maybe, `pre_tokenizer` names the pre-tokenizer: of a subcommand that
// opens two, the name goes for those that are GGUF files.
ModelLocation Locate(const std::string& path, const std::string& pre_tokenizer,
                     const std::string& other = "");

// LoadModel and ModelSource::Open, whose warnings go to standard error.
std::shared_ptr<const Model> LoadModelAndWarn(const ModelLocation& location, ThreadPool& pool,
                                              FloatForm form = FloatForm::kFloat32);
ModelSource OpenSourceAndWarn(const ModelLocation& location);

}  // namespace fptq
