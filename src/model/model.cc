#include "model/model.h"

#include <algorithm>
#include <future>

#include "base/error.h"
#include "base/rethrow.h"
#include "io/checkpoint.h"
#include "model/key_offsets.h"

namespace fptq {
namespace {

// Copies the biases of the channels from `begin` on into `biases`, and leaves those that a linear
// has not as they are.
void CopyBiases(const Linear& linear, int64_t begin, std::span<float> biases) {
  const int64_t end = begin + std::ssize(biases);
  int64_t first = 0;
  const auto copy = [&](const Linear& part) {
    const int64_t channels = part.channels();
    for (int64_t i = std::max(begin, first); i < std::min(end, first + channels); ++i) {
      if (part.bias.size() > 0) biases[static_cast<size_t>(i - begin)] = part.bias[i - first];
    }
    first += channels;
  };
  if (const auto* parts = std::get_if<Linear::Parts>(&linear.weights)) {
    for (const Linear& part : *parts) copy(part);
  } else {
    copy(linear);
  }
}

// For an int8 cache; float ones do without.
void SetKeyOffsets(const ModelConfig& config, int64_t layer, LayerWeights& weights) {
  std::vector<float> keys(static_cast<size_t>(config.kv_width()));
  CopyBiases(weights.at(ActSite::kAttnIn), config.query_width(), keys);
  const bool has_bias = std::ranges::any_of(keys, [](float bias) { return bias != 0; });
  // A norm after the bias leaves nothing in common, and a softcap sees what is taken from the
  // scores.
  if (has_bias && weights.norms.at(NormRole::kK).empty() && config.attention_softcap == 0) {
    weights.key_offsets = MakeKeyOffsets(config, layer, keys);
  }
}

// `read(role, mlp)` gives the linear of attention, or of an MLP, with that input.
template <typename Read>
MlpWeights MakeMlpWeights(const ModelConfig& config, MlpId mlp, Read read) {
  return {.gate_up = config.shared_norm ? Linear() : read(ActSite::kMlpIn, mlp),
          .down = read(ActSite::kMlpMid, mlp)};
}

// All but the MLPs.
template <typename Read>
LayerWeights MakeAttentionWeights(const ModelSource& source, int64_t layer, ThreadPool& pool,
                                  Read read) {
  LayerWeights weights;
  weights.norms = source.ReadNorms(layer);
  weights.qkv = read(ActSite::kAttnIn, MlpId());
  weights.o = read(ActSite::kAttnOut, MlpId());
  const std::vector<SourceLinear> floats = ReadFloatLinears(source, layer);
  if (!floats.empty()) weights.router = FloatLinear({&floats[0], 1}, pool);
  if (floats.size() > 1) weights.shared_gate = FloatLinear({&floats[1], 1}, pool);
  return weights;
}

template <typename Read>
LayerWeights MakeLayerWeights(const ModelSource& source, int64_t layer, ThreadPool& pool,
                              Read read) {
  LayerWeights weights = MakeAttentionWeights(source, layer, pool, read);
  for (const MlpId mlp : MlpsOf(source.config(), layer)) {
    weights.mlps.push_back(MakeMlpWeights(source.config(), mlp, read));
  }
  return weights;
}

// NaN and infinity in the embeddings, the norms and lm_head are found here, not in the middle of an
// answer; those of the layers where these are read.
void CheckOuterTensors(const ModelSource& source, ThreadPool& pool) {
  for (const UsedTensor& used : source.OuterTensors()) {
    const std::string where =
        fmt::format("{}: tensor '{}'", source.checkpoint().path().string(), used.name);
    const int64_t rows = used.tensor->shape.empty() ? 1 : used.tensor->shape[0];
    const int64_t k = used.tensor->ElementCount() / rows;
    pool.ParallelFor(rows, [&](int64_t begin, int64_t end) {
      CheckFinite(*used.tensor, begin * k, (end - begin) * k, where);
    });
  }
}

}  // namespace

int64_t Model::WeightBytes() const {
  int64_t bytes = head.Bytes();
  for (const LayerWeights& layer : layers) {
    layer.ForEachLinear([&](const Linear& linear) { bytes += linear.Bytes(); });
  }
  return bytes;
}

const Linear& LayerWeights::at(ActSite site, size_t mlp) const {
  switch (site) {
    case ActSite::kAttnIn:
      return qkv;
    case ActSite::kAttnOut:
      return o;
    case ActSite::kMlpIn:
      return mlps.at(mlp).gate_up;
    case ActSite::kMlpMid:
      return mlps.at(mlp).down;
  }
  return qkv;
}

void LayerWeights::ForEachLinear(FunctionRef<void(const Linear&)> body) const {
  const auto visit = [&](const Linear& linear) {
    if (linear.channels() > 0) body(linear);
  };
  visit(qkv);
  visit(o);
  for (const MlpWeights& mlp : mlps) {
    visit(mlp.gate_up);
    visit(mlp.down);
  }
  visit(router);
  visit(shared_gate);
}

LayerWeights FloatLayerWeights(const SourceLayer& layer, ThreadPool& pool) {
  LayerWeights weights;
  weights.norms = layer.norms;
  MlpWeights& mlp = weights.mlps.emplace_back();
  for (size_t i = 0; i < layer.sites.size(); ++i) {
    Linear linear = FloatLinear(layer.linears[i], pool);
    switch (layer.sites[i].role) {
      case ActSite::kAttnIn:
        weights.qkv = std::move(linear);
        break;
      case ActSite::kAttnOut:
        weights.o = std::move(linear);
        break;
      case ActSite::kMlpIn:
        mlp.gate_up = std::move(linear);
        break;
      case ActSite::kMlpMid:
        mlp.down = std::move(linear);
        break;
    }
  }
  return weights;
}

namespace {

// Reads linears of a float source in float.
auto FloatReader(const ModelSource& source, int64_t layer, ThreadPool& pool) {
  return [&source, layer, &pool](ActSite role, MlpId mlp) {
    return FloatLinear(ReadLinears(source, layer, role, mlp), pool);
  };
}

}  // namespace

LayerWeights ReadFloatLayer(const ModelSource& source, int64_t layer, ThreadPool& pool) {
  return MakeLayerWeights(source, layer, pool, FloatReader(source, layer, pool));
}

LayerWeights ReadFloatAttention(const ModelSource& source, int64_t layer, ThreadPool& pool) {
  return MakeAttentionWeights(source, layer, pool, FloatReader(source, layer, pool));
}

MlpWeights ReadFloatMlp(const ModelSource& source, int64_t layer, MlpId mlp, ThreadPool& pool) {
  return MakeMlpWeights(source.config(), mlp, FloatReader(source, layer, pool));
}

std::shared_ptr<const Model> LoadModel(const ModelLocation& location, ThreadPool& pool,
                                       FloatForm form, Arena memory) try {
  ModelSource source = ModelSource::Open(location);
  // The tokenizer, which takes one thread, beside the weights.
  std::future<ModelText> loading_text =
      std::async(std::launch::async, [&source] { return LoadText(source); });
  CheckOuterTensors(source, pool);
  std::vector<LayerWeights> layers;
  for (int64_t layer = 0; layer < source.config().layers; ++layer) {
    const auto read = [&](ActSite role, MlpId mlp) {
      if (source.quantized()) {
        return QuantizedLinears(source, LinearsOf(source.config(), layer, role, mlp), form, memory,
                                pool);
      }
      const std::vector<SourceLinear> linears = ReadLinears(source, layer, role, mlp);
      return form == FloatForm::kFloat32 ? FloatLinear(linears, pool)
                                         : Int8Linear(linears, memory, pool);
    };
    layers.push_back(MakeLayerWeights(source, layer, pool, read));
    if (!source.quantized()) source.checkpoint().ReleasePages();
  }
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    SetKeyOffsets(source.config(), static_cast<int64_t>(layer), layers[layer]);
  }
  Norm final_norm = source.ReadNorm(source.arch().final_norm);
  Linear head = HeadLinear(source, form, memory, pool);
  source.checkpoint().ReleasePages();
  ModelText text = loading_text.get();
  return std::make_shared<const Model>(Model{.source = std::move(source),
                                             .memory = std::move(memory),
                                             .layers = std::move(layers),
                                             .final_norm = std::move(final_norm),
                                             .head = std::move(head),
                                             .tokenizer = std::move(text.tokenizer),
                                             .special_tokens = std::move(text.special_tokens),
                                             .chat_templates = FindChatTemplates(text.files),
                                             .warnings = std::move(text.warnings)});
} catch (...) {
  RethrowNaming(location.path.string());
}

void Forward(const Model& model, const ForwardBatch& batch, KvCache& cache, ThreadPool& pool,
             Activations& act, ActivationObserver* observer) {
  const ModelConfig& config = model.config();
  EmbedTokens(config, model.source.embedding(), batch, pool, act);
  PrepareRope(config, batch, pool, act);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    ForwardLayer(config, model.layers[static_cast<size_t>(layer)], layer, batch, cache, layer, pool,
                 act, observer);
  }
  ComputeLogits(config, model.final_norm, model.head, batch, pool, act);
}

void CheckTokens(std::span<const int32_t> tokens, const ModelConfig& config) {
  for (const int32_t token : tokens) {
    if (token < 0 || token >= config.vocab) {
      throw Error("token id: expected 0 to {}, found {}", config.vocab - 1, token);
    }
  }
}

}  // namespace fptq
