// A loaded model: immutable, shared by threads.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "model/model_text.h"
#include "model/source.h"
#include "model/transformer.h"
#include "model/weights/float_layer.h"
#include "model/weights/tile.h"
#include "text/chat_format.h"
#include "text/tokenizer.h"

namespace fptq {

struct Model {
  ModelSource source;  // keeps the files mapped: the embedding is read from them
  Arena memory;        // of the quantized weights
  std::vector<LayerWeights> layers;
  Norm final_norm;  // [hidden]
  Linear head;
  Tokenizer tokenizer;
  SpecialTokens special_tokens;
  ChatTemplateFiles chat_templates;
  // ModelText::warnings, and what loading adds.
  std::vector<std::string> warnings;

  const ModelConfig& config() const { return source.config(); }
  bool quantized() const { return source.quantized(); }
  KvType kv_type() const { return DefaultKvType(quantized()); }
  // Bytes of the linears and lm_head as held in memory.
  int64_t WeightBytes() const;
};

// Loads a quantized folder (W4A8, int8 lm_head) or a float source. Integer weights go to `memory`.
std::shared_ptr<const Model> LoadModel(const ModelLocation& location, ThreadPool& pool,
                                       FloatForm form = FloatForm::kFloat32, Arena memory = {});

// Float weights in the kernels' layout.
LayerWeights FloatLayerWeights(const SourceLayer& layer, ThreadPool& pool);  // a dense layer
// The same of a layer of `source`; what is converted is freed matrix by matrix.
LayerWeights ReadFloatLayer(const ModelSource& source, int64_t layer, ThreadPool& pool);
// Of a mixture all but the MLPs, and one of these.
LayerWeights ReadFloatAttention(const ModelSource& source, int64_t layer, ThreadPool& pool);
MlpWeights ReadFloatMlp(const ModelSource& source, int64_t layer, MlpId mlp, ThreadPool& pool);

// The whole forward pass; logits are in act.logits.
void Forward(const Model& model, const ForwardBatch& batch, KvCache& cache, ThreadPool& pool,
             Activations& act, ActivationObserver* observer = nullptr);

// Error unless every id is within the vocabulary.
void CheckTokens(std::span<const int32_t> tokens, const ModelConfig& config);

}  // namespace fptq
