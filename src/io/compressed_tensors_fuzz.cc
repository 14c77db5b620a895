#include "base/error.h"
#include "base/fuzz/target.h"
#include "io/compressed_tensors.h"

namespace fptq {

// A quantization_config.
FPTQ_FUZZ_TARGET(compressed_tensors, kJson) {
  const auto config = QuantizationConfig::Parse(ParseJson(input, "file"), "file");
  for (const char* module :
       {"lm_head", "model.layers.0.mlp.down_proj", "model.layers.11.self_attn.q_proj",
        "transformer.h.1.self_attention.query_key_value"}) {
    const auto found = config.Find(module);
    if (!found) continue;
    FPTQ_CHECK(found->group_size >= 0 && (found->weight_bits == 4 || found->weight_bits == 8));
  }
}

}  // namespace fptq
