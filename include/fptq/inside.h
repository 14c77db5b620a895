// What a model has inside: the activations of a float one, the weights of either, as numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "fptq/error.h"
#include "fptq/quantize.h"

namespace fptq {

// The rows X that entered the linears of a site in calibration: [rows, inputs]. Spans are valid
// during the call.
struct SiteActivations {
  int64_t layer = 0;
  std::string site;  // "attn_in", "attn_out", "mlp_in" or "mlp_mid"
  int64_t rows = 0, inputs = 0;
  std::span<const float> absmax;        // [inputs], max |X_j|
  std::span<const float> mean_squares;  // [inputs], mean X_j^2
  int64_t sample_rows = 0;
  std::span<const float> sample;  // [sample_rows, inputs]: rows at even distances
};

// Runs the float model over the calibration that `options` name, layer by layer, and calls `take`
// for each site. As many rows of each are kept as `sample_rows` says, or all if there are fewer.
FPTQ_API void ObserveActivations(const std::filesystem::path& source,
                                 const QuantizationOptions& options, int64_t sample_rows,
                                 const std::function<void(const SiteActivations&)>& take);

// The linears of all layers, by Hugging Face's names: "model.layers.0.self_attn.q_proj", ...
FPTQ_API std::vector<std::string> LinearNames(const std::filesystem::path& model);

struct Weights {
  int64_t channels = 0, inputs = 0;
  std::vector<float> values;  // [channels, inputs]
};

// The weights of a linear as floats, dequantized if need be: of a folder that fptq or
// llm-compressor wrote, a Hugging Face folder or a GGUF file. Error if the model has no linear of
// that name.
FPTQ_API Weights ReadWeights(const std::filesystem::path& model, const std::string& linear);

}  // namespace fptq
