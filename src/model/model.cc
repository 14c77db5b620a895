#include "model/model.h"

#include <algorithm>
#include <future>

#include "base/error.h"
#include "base/rethrow.h"
#include "io/checkpoint.h"
#include "io/packed_linear.h"
#include "kernels/dispatch.h"
#include "model/key_offsets.h"

namespace fptq {
namespace {

// Calls body(linear, row, channel) for all rows of linears that stand one below the other in a
// matrix, in parallel: the 16 channels of a tile on one thread, as PackRow demands.
template <typename Body>
void ForEachChannel(std::span<const int64_t> linear_channels, ThreadPool& pool, Body body) {
  int64_t channels = 0;
  for (const int64_t count : linear_channels) channels += count;
  pool.ParallelFor((channels + kTileChannels - 1) / kTileChannels, [&](int64_t begin, int64_t end) {
    int64_t first = 0;  // the linear's first channel
    for (size_t linear = 0; linear < linear_channels.size(); ++linear) {
      const int64_t last = first + linear_channels[linear];
      for (int64_t channel = std::max(begin * kTileChannels, first);
           channel < std::min(end * kTileChannels, last); ++channel) {
        body(linear, channel - first, channel);
      }
      first = last;
    }
  });
}

// A quantized linear, whose rows may be stored in another order (SourceLinear).
struct StoredLinear {
  PackedLinear packed;
  QkvGroups groups = {};
  bool has_bias = false;

  int64_t Row(int64_t channel) const { return groups.Row(packed.channels, channel); }
  // Both run as one matrix.
  bool Alike(const StoredLinear& other) const {
    return packed.quantization == other.packed.quantization &&
           packed.input_scale == other.packed.input_scale &&
           packed.input_order == other.packed.input_order;
  }
};

// The row's integers in `matrix`, or the floats that they stand for.
void PackChannel(QuantizedMatrix& matrix, int64_t channel, const PackedLinear& from, int64_t row) {
  const PackedRow packed(from, row);
  PackRow(matrix, channel, packed.q, packed.scales, packed.zeros);
}

void PackChannel(FloatMatrix& matrix, int64_t channel, const PackedLinear& from, int64_t row) {
  thread_local std::vector<float> values;
  values.resize(static_cast<size_t>(from.k));
  from.DequantizeRow(row, values);
  PackRow(matrix, channel, values);
}

// Float activations take float weights, as there is no kernel for float times integers, unless they
// may be quantized. Groups of other sizes and zero points of 8 bits have no kernel either.
bool RunsOnIntegers(const PackedLinear& linear, FloatForm form) {
  const LinearQuantization& how = linear.quantization;
  if (how.activations != ActivationQuantization::kNone) return true;
  return form == FloatForm::kInt8 && linear.group_size % kMinGroupSize == 0 &&
         linear.group_size <= kMaxGroupSize && (how.symmetric || how.weight_bits == 4);
}

// Linears that are all alike and have the same input.
Linear PackedLinears(const ModelSource& source, std::span<const StoredLinear> linears,
                     FloatForm form, Arena& memory, ThreadPool& pool) {
  std::vector<int64_t> channels;
  int64_t all_channels = 0;
  for (const StoredLinear& linear : linears) {
    channels.push_back(linear.packed.channels);
    all_channels += linear.packed.channels;
  }
  const PackedLinear& first = linears[0].packed;
  Linear result;
  result.act.static_scale = first.input_scale;
  const auto pack = [&](auto matrix) {
    ForEachChannel(channels, pool, [&](size_t linear, int64_t row, int64_t channel) {
      const StoredLinear& from = linears[linear];
      PackChannel(matrix, channel, from.packed, from.Row(row));
    });
    result.weights = std::move(matrix);
  };
  if (RunsOnIntegers(first, form)) {
    pack(MakeQuantizedMatrix(first.quantization.weight_bits, all_channels, first.k,
                             first.group_size, &memory, first.quantization.symmetric));
    result.input_order = first.input_order;
  } else {
    pack(MakeFloatMatrix(all_channels, first.k));
  }
  int64_t begin = 0;
  for (const StoredLinear& linear : linears) {
    const int64_t count = linear.packed.channels;
    if (linear.has_bias) {
      if (result.bias.size() == 0) result.bias.Resize(all_channels);
      const std::vector<float> bias = source.ReadVector(linear.packed.module + ".bias");
      for (int64_t row = 0; row < count; ++row) {
        result.bias[begin + row] = bias[static_cast<size_t>(linear.Row(row))];
      }
    }
    begin += count;
  }
  return result;
}

// Linears of a quantized folder with the same input: neighbours that are alike as one matrix. Most
// often that is all of them.
Linear QuantizedLinears(const ModelSource& source, std::span<const LayerLinear> linears,
                        FloatForm form, Arena& memory, ThreadPool& pool) {
  const ModelConfig& config = source.config();
  Linear::Parts parts;
  std::vector<StoredLinear> quantized;  // of the part that is being collected
  std::vector<SourceLinear> floats;
  const auto finish_part = [&] {
    if (!quantized.empty()) parts.push_back(PackedLinears(source, quantized, form, memory, pool));
    if (!floats.empty()) parts.push_back(FloatLinear(floats, pool));
    quantized.clear();
    floats.clear();
  };
  for (const LayerLinear& from : linears) {
    const std::string name = source.Name(from);
    const auto how = source.quantization()->Find(name);
    if (!how) {
      if (!quantized.empty()) finish_part();
      floats.push_back(source.ReadLinear(from));
      continue;
    }
    StoredLinear linear = {.packed = GetPackedLinear(source.checkpoint(), name, *how,
                                                     from.channels(config), from.k(config)),
                           .groups = QkvGroupsOf(*from.spec, config),
                           .has_bias = HasBias(*from.spec, config)};
    if (!floats.empty() || (!quantized.empty() && !quantized[0].Alike(linear))) finish_part();
    quantized.push_back(std::move(linear));
  }
  finish_part();
  if (parts.size() == 1) return std::move(parts[0]);
  return {.weights = std::move(parts), .bias = {}, .act = {}};
}

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
  const std::vector<SourceLinear> floats = source.ReadFloatLinears(layer);
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

// Rows of integers with one scale, and an int8 input with a scale per token.
bool IsInt8ByRow(const PackedLinear& linear) {
  const LinearQuantization& how = linear.quantization;
  return how.weight_bits == 8 && how.symmetric && !how.per_tensor &&
         how.group_size == LinearQuantization::kWholeRow &&
         how.activations == ActivationQuantization::kDynamicToken;
}

// lm_head: int8 with a dynamic scale per token beside integer layers, float beside float ones, or
// as the folder has it. The int8 one takes rotated inputs, as the final norm leaves outlying
// channels; so does one of a folder that says the same of it.
Linear Head(const ModelSource& source, bool integer, FloatForm form, Arena& memory,
            ThreadPool& pool) {
  const int64_t channels = source.config().vocab;
  const int64_t k = source.config().hidden;
  if (const auto& packed = source.packed_head(); packed && !IsInt8ByRow(*packed)) {
    const StoredLinear stored = {.packed = *packed};
    return PackedLinears(source, {&stored, 1}, form, memory, pool);
  }
  const auto pack = [&](auto matrix, auto pack_row) {
    ForEachChannel({&channels, 1}, pool, [&](size_t, int64_t row, int64_t channel) {
      thread_local std::vector<float> values;
      values.resize(static_cast<size_t>(k));
      source.ReadHeadRow(row, values);  // finite: CheckOuterTensors
      pack_row(matrix, channel, std::span(values));
    });
    return Linear{.weights = std::move(matrix), .bias = {}, .act = {}};
  };
  if (!integer || !HasGroups(k)) {
    return pack(MakeFloatMatrix(channels, k),
                [](FloatMatrix& matrix, int64_t channel, std::span<const float> row) {
                  PackRow(matrix, channel, row);
                });
  }
  Linear head = pack(MakeQuantizedMatrix(/*bits=*/8, channels, k, /*group_size=*/k, &memory),
                     [](QuantizedMatrix& matrix, int64_t channel, std::span<float> row) {
                       Kernels().rotate({.x = row.data(), .rows = 1, .n = std::ssize(row)});
                       PackRowInt8(matrix, channel, row);
                     });
  head.act.rotated = true;
  return head;
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

namespace {

// The linears of a site one below the other in a matrix that `make(channels, k)` makes and
// `pack_row(matrix, channel, row)` fills.
template <typename Make, typename PackRowFunction>
Linear StackLinears(std::span<const SourceLinear> linears, ThreadPool& pool, Make make,
                    PackRowFunction pack_row) {
  std::vector<int64_t> channels;
  int64_t all_channels = 0;
  bool has_bias = false;
  for (const SourceLinear& linear : linears) {
    channels.push_back(linear.channels);
    all_channels += linear.channels;
    has_bias |= !linear.bias.empty();
  }
  const int64_t k = linears[0].k;
  auto matrix = make(all_channels, k);
  AlignedBuffer<float> bias(has_bias ? all_channels : 0);
  ForEachChannel(channels, pool, [&](size_t linear, int64_t row, int64_t channel) {
    const SourceLinear& from = linears[linear];
    const int64_t stored = from.Row(row);
    pack_row(matrix, channel,
             from.weight.span().subspan(static_cast<size_t>(stored * k), static_cast<size_t>(k)));
    if (!from.bias.empty()) bias[channel] = from.bias[static_cast<size_t>(stored)];
  });
  return {.weights = std::move(matrix), .bias = std::move(bias), .act = {}};
}

// Int8 where it can be.
Linear Int8Linear(std::span<const SourceLinear> linears, Arena& memory, ThreadPool& pool) {
  if (!HasGroups(linears[0].k)) return FloatLinear(linears, pool);
  return StackLinears(
      linears, pool,
      [&](int64_t channels, int64_t k) {
        return MakeQuantizedMatrix(/*bits=*/8, channels, k, /*group_size=*/k, &memory);
      },
      PackRowInt8);
}

}  // namespace

Linear FloatLinear(std::span<const SourceLinear> linears, ThreadPool& pool) {
  return StackLinears(linears, pool, MakeFloatMatrix,
                      [](FloatMatrix& matrix, int64_t channel, std::span<const float> row) {
                        PackRow(matrix, channel, row);
                      });
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
    return FloatLinear(source.ReadLinears(layer, role, mlp), pool);
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
      const std::vector<SourceLinear> linears = source.ReadLinears(layer, role, mlp);
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
  Linear head = Head(source, source.quantized() || form == FloatForm::kInt8, form, memory, pool);
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
