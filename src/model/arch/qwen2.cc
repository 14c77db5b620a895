// Qwen2 and Qwen2.5: LLaMA with biases of q, k and v.
#include "model/arch/gguf_config.h"
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

constexpr auto kLinears = llama_tensors::Linears(RowOrder::kAsIs, /*qkv=*/Bias::kAlways,
                                                 /*output=*/Bias::kNone, /*mlp=*/Bias::kNone);

ModelConfig ConfigFromHf(const JsonFields& fields) {
  return QwenConfigFromHf(fields, {.kv_heads = 32, .max_positions = 32768});
}

ModelConfig ConfigFromGguf(const JsonFields& fields) {
  return LlamaConfigFromGguf(fields, "qwen2");
}

}  // namespace

extern const ArchSpec kQwen2Arch;
constinit const ArchSpec kQwen2Arch = llama_tensors::Relative({
    .name = "qwen2",
    .hf_class = "Qwen2ForCausalLM",
    .linears = kLinears,
    .config_from_hf = ConfigFromHf,
    .config_from_gguf = ConfigFromGguf,
});

}  // namespace fptq
