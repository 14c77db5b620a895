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
#include "model/weights/embedding.h"
#include "model/weights/norm.h"
#include "text/tokenizer.h"

namespace fptq {

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

  std::vector<std::string> FloatLinearNames(int64_t layer) const;  // Hugging Face's
  // How the weights of a linear that is not quantized lie: whether one tensor has those of all
  // experts, [experts, N, K], and whether it is [K, N].
  bool IsStacked(const LayerLinear& linear) const;
  bool IsTransposed() const;
  // Error if a value is NaN or infinite, naming the tensor.
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
