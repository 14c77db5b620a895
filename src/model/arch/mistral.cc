// Mistral: LLaMA with a sliding window. GGUF files of it say "llama".
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

ModelConfig ConfigFromHf(const JsonFields& fields) {
  ModelConfig config = LlamaConfigFromHf(fields);
  ReadWindows(fields, /*first=*/0, config);
  return config;
}

}  // namespace

extern const ArchSpec kMistralArch;
constinit const ArchSpec kMistralArch = [] {
  ArchSpec arch = llama_tensors::Relative("mistral", "MistralForCausalLM");
  arch.gguf_name = "";
  arch.config_from_hf = ConfigFromHf;
  arch.config_to_hf = nullptr;
  return arch;
}();

}  // namespace fptq
