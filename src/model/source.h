// A checkpoint seen through its architecture: float tensors by role, whatever the file format.
#pragma once

#include <concepts>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/checkpoint.h"
#include "io/compressed_tensors.h"
#include "model/arch/arch.h"
#include "model/config.h"
#include "model/embedding.h"
#include "model/norm.h"
#include "text/tokenizer.h"

namespace fptq {

// A float linear as it stands in the source: out[n] = sum_k weight[n][k] x[k] + bias[n].
struct SourceLinear {
  std::string name;      // Hugging Face's module name, "model.layers.0.self_attn.q_proj"
  int64_t channels = 0;  // N
  int64_t k = 0;
  AlignedBuffer<float> weight;       // [N, K]
  std::vector<float> bias;           // [N] or empty
  const LinearSpec* spec = nullptr;  // which of a layer's linears it is
  // Rows are in Hugging Face's order, in which they are written again.
  QkvGroups groups = {};

  // The row of our output channel `channel`.
  int64_t Row(int64_t channel) const { return groups.Row(channels, channel); }
};

// One layer in float, or a part of one: what quantization reads, changes and drops again.
struct SourceLayer {
  LayerNorms norms;
  std::vector<SiteId> sites;
  std::vector<std::vector<SourceLinear>> linears;  // by site
  std::vector<SourceLinear> float_linears;         // of a mixture: the router and its like

  // The norm before kAttnIn or kMlpIn.
  Norm& norm(ActSite site);
  const Norm& norm(ActSite site) const;
};

// A tensor of the checkpoint that the model uses.
struct UsedTensor {
  std::string name;     // in the checkpoint
  std::string hf_name;  // that Hugging Face gives it
  const TensorView* tensor;
  float less = 0;  // what Hugging Face's values are less than these: ArchSpec::norm_offset
};

// Where a model is, and what its files leave open. A path alone will do.
struct ModelLocation {
  std::filesystem::path path;  // a Hugging Face folder or a GGUF file
  // A name of tokenizer.ggml.pre, in place of what a GGUF file says there; empty: what it says.
  std::string pre_tokenizer;

  template <std::convertible_to<std::filesystem::path> Path>
  ModelLocation(Path&& path_alone) : path(std::forward<Path>(path_alone)) {}
  ModelLocation(std::filesystem::path path_, std::string pre_tokenizer_)
      : path(std::move(path_)), pre_tokenizer(std::move(pre_tokenizer_)) {}
};

class ModelSource {
 public:
  // Opens the checkpoint, finds its architecture, parses and validates the config, checks that
  // every tensor that the model needs is there with the right shape.
  static ModelSource Open(const ModelLocation& location);

  const ModelLocation& location() const { return location_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const ModelConfig& config() const { return config_; }
  const ArchSpec& arch() const { return *config_.arch; }
  // What a user should know of the files though they can be used: a sentence each, which names the
  // file. The caller shows them; what LoadTokenizer finds is in its result.
  const std::vector<std::string>& warnings() const { return warnings_; }
  // Compressed-tensors: not all linears are float.
  bool quantized() const { return quantization_.has_value(); }
  const std::optional<QuantizationConfig>& quantization() const { return quantization_; }

  // config.json of the source, or one made from the metadata of a GGUF file, without the special
  // tokens.
  Json HfConfig() const;
  TokenizerFiles LoadTokenizer() const;

  // Name of a module in this checkpoint.
  std::string Name(const TensorNames& names, int64_t layer = 0, int64_t expert = 0) const;
  std::string Name(const LayerLinear& linear) const;
  static std::string HfName(const TensorNames& names, int64_t layer = 0, int64_t expert = 0);
  static std::string HfName(const LayerLinear& linear);

  // Error if a weight is NaN or infinite, naming the tensor.
  SourceLayer ReadLayer(int64_t layer) const;
  // Of a mixture: all but its MLPs; and one of these, with the sites kMlpIn and kMlpMid.
  SourceLayer ReadAttention(int64_t layer) const;
  SourceLayer ReadMlp(int64_t layer, MlpId mlp) const;
  SourceLinear ReadLinear(const LayerLinear& linear) const;
  // LinearsOf
  std::vector<SourceLinear> ReadLinears(int64_t layer, ActSite role, MlpId mlp = {}) const;
  // Of a mixture: the router, [experts, hidden], and the gate of the shared expert, [1, hidden].
  std::vector<SourceLinear> ReadFloatLinears(int64_t layer) const;
  std::vector<std::string> FloatLinearNames(int64_t layer) const;  // Hugging Face's
  std::vector<float> ReadVector(const std::string& name) const;
  // Empty if the architecture has none. What it multiplies by, ArchSpec::norm_offset included.
  Norm ReadNorm(const TensorNames& module, int64_t layer = 0) const;
  LayerNorms ReadNorms(int64_t layer) const;
  const Embedding& embedding() const { return embedding_; }
  // Of a quantized folder: the integers of an lm_head of its own.
  const std::optional<PackedLinear>& packed_head() const { return packed_head_; }
  // A row of lm_head, [hidden], which is the embedding's if it is tied.
  void ReadHeadRow(int64_t token, std::span<float> out) const;
  // Floats outside the layers: embeddings, norms and an lm_head of its own, or their scales.
  std::vector<UsedTensor> OuterTensors() const;
  // Norms of a layer, biases of its linears and what of a mixture is no MLP: quantization leaves
  // them float.
  std::vector<UsedTensor> LayerVectors(int64_t layer) const;
  // Of a layer whose linears are float.
  std::vector<UsedTensor> LayerMatrices(int64_t layer) const;

 private:
  UsedTensor Used(const TensorNames& module, std::string_view suffix, int64_t layer,
                  int64_t expert = 0) const;
  void AddNorm(const TensorNames& module, int64_t layer, std::vector<UsedTensor>& tensors) const;
  void FindPrefix();
  void CheckTensors();
  void WarnOfBiases(const std::vector<std::string>& unused);
  void OpenEmbedding();
  void DecideHead();
  std::optional<PackedLinear> PackedOuter(const TensorNames& module) const;
  bool ExpectsBias(const LinearSpec& linear, const std::string& name) const;
  bool IsStacked(const LayerLinear& linear) const;
  bool IsTransposed() const;  // ArchSpec::transposed_weights, in this checkpoint

  ModelLocation location_ = "";
  std::shared_ptr<const Checkpoint> checkpoint_;
  ModelConfig config_;
  // What Hugging Face's names begin with, "model.", and what stands there in this checkpoint.
  std::string_view hf_prefix_, prefix_;
  Embedding embedding_;
  std::optional<QuantizationConfig> quantization_;
  std::optional<PackedLinear> packed_head_;
  std::vector<std::string> warnings_;
};

}  // namespace fptq
