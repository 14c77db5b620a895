// The layouts of GPTQ folders (AutoGPTQ, GPTQModel) and AWQ folders (AutoAWQ's "gemm"): for each
// linear X with N outputs and K inputs, integers of unsigned fields,
//  GPTQ  X.qweight I32 [K * bits / 32, N], fields along K, the lowest first; X.qzeros I32 [groups,
//        N * bits / 32], along N, each one less than the zero point ("gptq") or the zero point
//        itself ("gptq_v2"); X.scales [groups, N]; X.g_idx I32 [K], the group of each input
//  AWQ   X.qweight I32 [K, N / 8] and X.qzeros I32 [groups, N / 8], fields along N, those of eight
//        outputs in the order 0, 2, 4, 6, 1, 3, 5, 7; X.scales [groups, N]
// and w = (field - zero point) * scale.
#pragma once

#include <string_view>

#include "base/json.h"
#include "io/compressed_tensors.h"

namespace fptq {

class Checkpoint;

// The name of the file in which older folders have what others have as `quantization_config`.
inline constexpr std::string_view kQuantizeConfigFile = "quantize_config.json";

// Whether a quantization_config is of that kind.
bool IsGptqOrAwq(const Json& quantization_config, std::string_view where);

// Which linears of the folder are quantized, those with a tensor X.qweight, and how. Error naming
// `where` and the field for what we cannot run: other bits, formats, settings of single modules.
QuantizationConfig ParseGptqOrAwq(const Json& quantization_config, const Checkpoint& checkpoint,
                                  std::string_view where);

}  // namespace fptq
