// An architecture as data. To add one: a file in this folder and a line in registry.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "model/config.h"
#include "model/site.h"

namespace fptq {

class Checkpoint;

// Names of modules, whose tensors are NAME.weight and NAME.bias; "{}" stands for the layer, a
// second one for the expert. A role that an architecture does not have stays empty.
struct TensorNames {
  std::string_view hf;
  std::string_view gguf;

  constexpr bool empty() const { return hf.empty(); }
};

// The norms of a layer: what attention and MLP read, q and k, and what attention and MLP give.
enum class NormRole { kAttn, kMlp, kQ, kK, kAttnOut, kMlpOut };
inline constexpr int kNormRoles = 6;

struct NormSpec {
  NormRole role;
  TensorNames module;
  int64_t (*size)(const ModelConfig&);  // of kQ and kK: head_dim, or the width of all heads
};

// How the rows of a linear are stored. Ours: the heads of q, then those of k, then those of v.
enum class RowOrder {
  kAsIs,
  kGgufRotaryPairs,  // in GGUF files the rows of each head are interleaved: (0, d/2, 1, d/2 + 1,
                     // ...)
  kQkvByGroup,       // one linear for q, k and v, in Hugging Face's files ordered
                     // [KV head][its query heads, k, v][head_dim], in GGUF files as ours
};

// Whether a linear has a bias.
enum class Bias { kNone, kAlways, kAttention, kMlp };  // the last two: ModelConfig says so

// One linear of a layer, or of each of its experts. The rows of the table stand in the order in
// which a site's outputs are concatenated, those of attention first.
struct LinearSpec {
  ActSite site;
  TensorNames module;  // in GGUF files the experts' weights are one tensor, [experts, N, K]
  RowOrder row_order;
  int64_t (*channels)(const ModelConfig&);
  Bias bias;
  MlpKind mlp = MlpKind::kDense;  // of kMlpIn and kMlpMid: which MLPs have it
};
bool HasBias(const LinearSpec& linear, const ModelConfig& config);

// A linear of a layer.
struct LayerLinear {
  const LinearSpec* spec;
  int64_t layer;
  MlpId mlp;  // of kMlpIn and kMlpMid

  SiteId site() const;
  int64_t channels(const ModelConfig& config) const { return spec->channels(config); }  // N
  int64_t k(const ModelConfig& config) const { return SiteInputs(config, site()); }
};

// Of a RowOrder::kQkvByGroup linear: which of its rows, in Hugging Face's order, is which.
struct QkvGroups {
  int64_t queries = 0;   // query heads of a KV head
  int64_t head_dim = 0;  // 0: rows are in our order

  // The row of `channels` that holds our output channel `channel`.
  int64_t Row(int64_t channels, int64_t channel) const;
};
QkvGroups QkvGroupsOf(const LinearSpec& linear, const ModelConfig& config);

// Those of a layer in the order of the table: of attention, then of its MLPs, one after the other.
std::vector<LayerLinear> LinearsOf(const ModelConfig& config, int64_t layer);
// Those that run as one matrix: of attention, or of one MLP, with the input `role`.
std::vector<LayerLinear> LinearsOf(const ModelConfig& config, int64_t layer, ActSite role,
                                   MlpId mlp = {});
// Of a layer with a mixture, what is float whatever the model's quantization: the router,
// [experts, hidden], and the gate of the shared expert, [1, hidden].
struct FloatLinearSpec {
  TensorNames module;
  int64_t channels;
};
std::vector<FloatLinearSpec> FloatLinearsOf(const ModelConfig& config, int64_t layer);
// Weights of the linears of a layer, of all its experts or of those that a token takes.
int64_t WeightsOf(const ModelConfig& config, int64_t layer);
int64_t ActiveWeightsOf(const ModelConfig& config, int64_t layer);

// LAE and its like: divide the producer's output channels by s, multiply the input channels of the
// site's linears by it. The attention heads that share a KV head share the channels of v_proj. An
// activation between the two must be homogeneous: f(x / s) = f(x) / s, as ReLU.
enum class Producer { kNorm, kLinear };
struct EqualizationGroup {
  ActSite site;
  Producer kind;
  TensorNames producer;
  // Of a linear that makes more than the site's input, the first channel that does; null: 0.
  int64_t (*first_channel)(const ModelConfig&) = nullptr;
  MlpKind mlp = MlpKind::kDense;  // of kMlpMid: whose
};
// The group that equalizes this site; null if it has none. The input of a mixture has none, as its
// router, which stays as it is, reads the same norm.
const EqualizationGroup* FindEqualization(const ModelConfig& config, int64_t layer,
                                          const SiteId& site);

struct ArchSpec {
  std::string_view name;            // model_type in config.json
  std::string_view gguf_name = {};  // general.architecture; empty: there are no such GGUF files
  std::string_view hf_class;        // config.json architectures[0]
  TensorNames embedding = {}, positions = {}, embedding_norm = {}, final_norm = {}, head = {};
  std::span<const NormSpec> norms = {};  // of a layer
  float norm_offset = 0;  // what Hugging Face's weights of all norms lack: 1 where a norm
                          // multiplies by 1 + weight
  std::span<const LinearSpec> linears = {};
  std::span<const EqualizationGroup> equalization_groups = {};
  // Linears of a mixture that stay float: the scores of experts, and what weighs the shared one.
  TensorNames router = {}, shared_gate = {};
  // Fields of config.json and keys of GGUF files, without "ARCH.", that would be refused
  // (unsupported_fields.h) and are read here.
  std::span<const std::string_view> read_fields = {};
  // Hugging Face's files have the weights of the layers' float linears as [K, N] (Conv1D).
  bool transposed_weights = false;
  // What keeps transformers from running a folder that is quantized for compressed-tensors, in a
  // sentence's second half; empty: nothing does.
  std::string_view transformers_obstacle = {};
  // Both fill what the layers need, and `arch` if it is not this one: a family whose tables differ
  // from model to model has an ArchSpec for each kind, of which the registry lists one. source.cc
  // sets dtype, the special tokens and, for GGUF, vocab, tied_head and what tensors tell:
  // rope_scaling and the biases. What changes the result in other architectures, too,
  // unsupported_fields.h refuses; the rest that they do not know and that changes the result must
  // be an Error here. All but the first are null without a gguf_name.
  ModelConfig (*config_from_hf)(const JsonFields& config) = nullptr;
  ModelConfig (*config_from_gguf)(const JsonFields& metadata) = nullptr;
  // What the tensors of a GGUF file alone say of this architecture; null: nothing.
  void (*read_gguf_tensors)(const Checkpoint& checkpoint, ModelConfig& config) = nullptr;
  // config.json for a source that has none.
  Json (*config_to_hf)(const ModelConfig& config) = nullptr;
};

std::span<const ArchSpec* const> AllArchs();
// By model_type, or by general.architecture, which models with and without experts may share. Error
// naming the file that lists what is supported.
const ArchSpec& FindArch(std::string_view name, std::string_view where);
const ArchSpec& FindGgufArch(const JsonFields& metadata);
// By the architecture that they name, with `arch` set.
ModelConfig ReadHfConfig(const JsonFields& config);
ModelConfig ReadGgufConfig(const JsonFields& metadata);

}  // namespace fptq
