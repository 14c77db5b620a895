// Qwen2 and Qwen2.5: LLaMA with biases of q, k and v.
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  return LlamaConfigFromGguf(fields, "qwen2");
}

}  // namespace

extern const ArchSpec kQwen2Arch;
constinit const ArchSpec kQwen2Arch = [] {
  ArchSpec arch = llama_tensors::Relative("qwen2", "Qwen2ForCausalLM");
  arch.config_from_hf = QwenConfigFromHf;
  arch.config_from_gguf = ConfigFromGguf;
  return arch;
}();

}  // namespace fptq
