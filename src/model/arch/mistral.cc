// Mistral: LLaMA with a sliding window. GGUF files of it say "llama".
#include <algorithm>

#include "base/error.h"
#include "model/arch/llama_tensors.h"

namespace fptq {
namespace {

// llama.cpp's files of it are those of LLaMA, so the order of rows is of no account.
constexpr auto kLinears =
    llama_tensors::Linears(RowOrder::kAsIs, Bias::kNone, Bias::kNone, Bias::kNone);

ModelConfig ConfigFromHf(const JsonFields& fields) {
  ModelConfig config = LlamaConfigFromHf(fields, {.kv_heads = 8, .max_positions = 131072});
  const int64_t window = ReadWindow(fields, /*otherwise=*/4096);
  ReadWindows(fields, window, /*first=*/0, config);
  // transformers does not read layer_types here: all layers have the window.
  if (std::ranges::any_of(config.windows, [&](int64_t found) { return found != window; })) {
    throw Error("{}: layer_types: expected sliding_attention in all layers, found full_attention",
                fields.where());
  }
  return config;
}

}  // namespace

extern const ArchSpec kMistralArch;
constinit const ArchSpec kMistralArch = llama_tensors::Relative({
    .name = "mistral",
    .hf_class = "MistralForCausalLM",
    .linears = kLinears,
    .config_from_hf = ConfigFromHf,
});

}  // namespace fptq
