// Qwen3: LLaMA with an RMSNorm of each head of q and k.
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  return LlamaConfigFromGguf(fields, "qwen3");
}

}  // namespace

extern const ArchSpec kQwen3Arch;
constinit const ArchSpec kQwen3Arch = [] {
  ArchSpec arch = llama_tensors::Relative("qwen3", "Qwen3ForCausalLM");
  arch.q_norm = llama_tensors::kQNorm;
  arch.k_norm = llama_tensors::kKNorm;
  arch.config_from_hf = QwenConfigFromHf;
  arch.config_from_gguf = ConfigFromGguf;
  return arch;
}();

}  // namespace fptq
