// A checkpoint seen through its architecture: float tensors by role, whatever the file format.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/checkpoint.h"
#include "io/compressed_tensors.h"
#include "model/arch/arch.h"
#include "model/config.h"
#include "text/tokenizer.h"

namespace fptq {

// A float linear as it stands in the source: out[n] = sum_k weight[n][k] x[k] + bias[n].
struct SourceLinear {
  std::string name;      // Hugging Face's module name, "model.layers.0.self_attn.q_proj"
  int64_t channels = 0;  // N
  int64_t k = 0;
  AlignedBuffer<float> weight;  // [N, K]
  std::vector<float> bias;      // [N] or empty
};

// One layer in float: what quantization reads, changes and drops again.
struct SourceLayer {
  std::vector<float> attn_norm;                  // [hidden]
  std::vector<float> mlp_norm;                   // [hidden]
  std::vector<SourceLinear> linears[kActSites];  // by ActSite

  // The norm before kAttnIn or kMlpIn.
  std::vector<float>& norm(ActSite site);
  const std::vector<float>& norm(ActSite site) const;
};

class ModelSource {
 public:
  // Opens the checkpoint, finds its architecture, parses and validates the config, checks that
  // every tensor that the model needs is there with the right shape.
  static ModelSource Open(const std::filesystem::path& path);

  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const ModelConfig& config() const { return config_; }
  const ArchSpec& arch() const { return *config_.arch; }
  // Compressed-tensors: not all linears are float.
  bool quantized() const { return quantization_.has_value(); }
  const std::optional<CompressedTensorsConfig>& quantization() const { return quantization_; }

  // config.json of the source, or one made from the metadata of a GGUF file.
  Json HfConfig() const;
  TokenizerFiles LoadTokenizer() const;

  // Name of a tensor in this checkpoint's format.
  std::string Name(const TensorNames& names, int64_t layer = 0) const;
  static std::string HfName(const TensorNames& names, int64_t layer = 0);

  // Error if a weight is NaN or infinite, naming the tensor.
  SourceLayer ReadLayer(int64_t layer) const;
  std::vector<SourceLinear> ReadSite(int64_t layer, ActSite site) const;
  std::vector<float> ReadVector(const std::string& name) const;
  const TensorView& embedding() const { return *embedding_; }  // [vocab, hidden]
  const TensorView& head() const;  // [vocab, hidden]; the embedding if tied

 private:
  SourceLinear ReadLinear(const LinearSpec& spec, int64_t layer) const;

  std::shared_ptr<const Checkpoint> checkpoint_;
  ModelConfig config_;
  const TensorView* embedding_ = nullptr;  // of the checkpoint
  std::optional<CompressedTensorsConfig> quantization_;
};

}  // namespace fptq
