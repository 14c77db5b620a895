#include "model/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <initializer_list>
#include <set>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/rethrow.h"
#include "files/json_file.h"
#include "files/paths.h"
#include "io/gptq_awq.h"
#include "model/arch/gguf_config.h"
#include "model/arch/unsupported_fields.h"
#include "model/positions.h"

namespace fptq {
namespace {

bool IsGguf(const Checkpoint& checkpoint) {
  return checkpoint.format() == Checkpoint::Format::kGguf;
}

// Of GGUF files: those of LLaMA 3, and those of longrope.
constexpr std::string_view kRopeFactors = "rope_freqs.weight";
constexpr std::string_view kLongFactors = "rope_factors_long.weight";
constexpr std::string_view kShortFactors = "rope_factors_short.weight";

std::string LayerName(std::string_view name, int64_t layer, int64_t expert = 0) {
  return fmt::format(fmt::runtime(name), layer, expert);
}

// The type in which we store what is not quantized.
DataType StorageType(DataType embedding_type) {
  if (embedding_type == DataType::kF32 || embedding_type == DataType::kBF16) return embedding_type;
  return DataType::kF16;
}

std::string_view TorchName(DataType type) {
  if (type == DataType::kF32) return "float32";
  return type == DataType::kBF16 ? "bfloat16" : "float16";
}

// The part of config.json that describes the model of text, of one that sees images, too; else all.
const Json& TextConfig(const Json& config) {
  const auto text = config.find("text_config");
  return text != config.end() && text->is_object() && text->contains("model_type") ? *text : config;
}

ModelConfig HuggingFaceConfig(const Checkpoint& checkpoint) {
  const std::string where = (checkpoint.path() / "config.json").string();
  const Json& text = TextConfig(checkpoint.metadata());
  const ModelConfig config = ReadHfConfig(JsonFields(text, where));
  Validate(config, where);
  RejectUnsupportedHfFields(text, config, where);
  return config;
}

// Whether a linear of this kind has a bias in any layer.
bool AnyBias(const Checkpoint& checkpoint, const ModelConfig& config, Bias bias) {
  for (const LinearSpec& linear : config.arch->linears) {
    for (int64_t layer = 0; linear.bias == bias && layer < config.layers; ++layer) {
      if (checkpoint.Contains(LayerName(linear.module.gguf, layer) + ".bias")) return true;
    }
  }
  return false;
}

bool HasLongRope(const Checkpoint& checkpoint) {
  return checkpoint.Contains(kLongFactors) && checkpoint.Contains(kShortFactors);
}

// The scaling of rope that a GGUF file keeps in tensors.
void ReadRopeFactors(const Checkpoint& checkpoint, const JsonFields& fields, ModelConfig& config) {
  const auto key = [&](std::string_view name) { return GgufKey(config.arch->gguf_name, name); };
  const int64_t original =
      fields.IntOr(key("rope.scaling.original_context_length"), config.max_positions, 1, kMaxInt);
  const bool is_longrope = HasLongRope(checkpoint);
  if (!is_longrope && fields.StringOr(key("rope.scaling.type"), "") == "longrope") {
    throw Error(
        "{}: expected tensors '{}' and '{}', as the scaling of rope is longrope, found none",
        checkpoint.path().string(), kLongFactors, kShortFactors);
  }
  const std::string_view name = !is_longrope                      ? kRopeFactors
                                : config.max_positions > original ? kLongFactors
                                                                  : kShortFactors;
  if (config.rotary == 0 || !checkpoint.Contains(name)) return;
  const std::string where = fmt::format("{}: {}", checkpoint.path().string(), name);
  if (config.rope.scaling.kind != RopeScaling::Kind::kNone) {
    throw Error("{}: expected no other scaling of rope beside it, found one", where);
  }
  const TensorView& tensor = checkpoint.Get(name, std::array{config.rotary / 2});
  std::vector<float> factors(static_cast<size_t>(config.rotary / 2));
  DequantizeRange(tensor, 0, factors);
  if (!is_longrope) {
    config.rope.scaling = Llama3FromFactors(factors, config, where);
    return;
  }
  config.rope.scaling.kind = RopeScaling::Kind::kFactors;
  config.rope.scaling.factors.assign(factors.begin(), factors.end());
  config.rope.scaling.original_positions = original;
  config.rope.scaling.attention_factor = fields.DoubleOr(key("rope.scaling.attn_factor"), 1);
}

ModelConfig GgufConfig(const Checkpoint& checkpoint) {
  const std::string where = checkpoint.path().string();
  const JsonFields fields(checkpoint.metadata(), where);
  ModelConfig config = ReadGgufConfig(fields);
  const ArchSpec& arch = *config.arch;
  if (arch.read_gguf_tensors != nullptr) arch.read_gguf_tensors(checkpoint, config);
  config.tied_head = !checkpoint.Contains(std::string(arch.head.gguf) + ".weight");
  const int64_t tokens =
      fields.Has("tokenizer.ggml.tokens") ? std::ssize(fields.Array("tokenizer.ggml.tokens")) : 0;
  config.vocab = fields.IntOr(fmt::format("{}.vocab_size", arch.gguf_name), tokens, 0, INT32_MAX);
  Validate(config, where);
  RejectUnsupportedGgufKeys(checkpoint.metadata(), config, where);
  config.attention_bias = AnyBias(checkpoint, config, Bias::kAttention);
  config.mlp_bias = AnyBias(checkpoint, config, Bias::kMlp);
  ReadRopeFactors(checkpoint, fields, config);
  Validate(config, where);  // what the tensors say
  return config;
}

// Nothing if the linears are float.
std::optional<QuantizationConfig> ReadQuantization(const Checkpoint& checkpoint) {
  constexpr const char* kField = "quantization_config";
  const std::string where = (checkpoint.path() / "config.json").string();
  if (JsonFields(checkpoint.metadata(), where).Has(kField)) {
    const Json& json = checkpoint.metadata()[kField];
    const std::string field = where + ": " + kField;
    if (IsGptqOrAwq(json, field)) return ParseGptqOrAwq(json, checkpoint, field);
    return QuantizationConfig::Parse(json, where);
  }
  const std::filesystem::path file = checkpoint.path() / kQuantizeConfigFile;
  if (!Exists(file)) return std::nullopt;
  return ParseGptqOrAwq(ReadJsonFile(file), checkpoint, file.string());
}

}  // namespace

ModelSource ModelSource::Open(const ModelLocation& location) try {
  const std::filesystem::path& path = location.path;
  ModelSource source;
  source.location_ = location;
  source.checkpoint_ = Checkpoint::Open(path);
  const Checkpoint& checkpoint = source.checkpoint();
  if (!IsGguf(checkpoint) && !location.pre_tokenizer.empty()) {
    throw Error("{}: expected a GGUF file, as a pre-tokenizer is named for it, found a folder",
                path.string());
  }
  source.warnings_ = checkpoint.warnings();
  source.config_ = IsGguf(checkpoint) ? GgufConfig(checkpoint) : HuggingFaceConfig(checkpoint);
  if (!IsGguf(checkpoint)) source.quantization_ = ReadQuantization(checkpoint);

  const ArchSpec& arch = source.arch();
  const std::string_view name = arch.embedding.hf;
  source.hf_prefix_ = source.prefix_ = name.substr(0, name.find('.') + 1);
  if (!IsGguf(checkpoint)) source.FindPrefix();
  source.OpenEmbedding();
  if (!IsGguf(checkpoint)) source.DecideHead();
  source.CheckTensors();
  if (!arch.positions.empty()) {
    source.embedding_.positions = &checkpoint.Get(source.Name(arch.positions) + ".weight");
  }
  source.embedding_.norm = source.ReadNorm(arch.embedding_norm);
  return source;
} catch (...) {
  RethrowNaming(location.path.string());
}

// Others stand before the names of a model saved without its head, and of the text model of one
// that sees images, too.
void ModelSource::FindPrefix() {
  for (const std::string_view prefix :
       {hf_prefix_, std::string_view(), std::string_view("model.language_model."),
        std::string_view("language_model.model.")}) {
    prefix_ = prefix;
    if (checkpoint_->ContainsModule(Name(arch().embedding))) return;
  }
  prefix_ = hf_prefix_;
}

// The integers of a module outside the layers; nothing if it has floats.
std::optional<PackedLinear> ModelSource::PackedOuter(const TensorNames& module) const {
  const std::string name = Name(module);
  const auto has = [&](std::string_view suffix) {
    return checkpoint_->Contains(fmt::format("{}.{}", name, suffix));
  };
  if (!quantized() || !(has("weight_packed") || has("weight_scale") || has("qweight"))) {
    return std::nullopt;
  }
  const auto how = quantization_->Find(name);
  if (!how) return std::nullopt;
  return GetPackedLinear(*checkpoint_, name, *how, config_.vocab, config_.hidden);
}

void ModelSource::OpenEmbedding() {
  embedding_.packed = PackedOuter(arch().embedding);
  if (embedding_.packed) {
    config_.dtype = StorageType(embedding_.packed->scales.type);
  } else {
    embedding_.tokens = checkpoint_->Get(Name(arch().embedding) + ".weight");
    config_.dtype = StorageType(embedding_.tokens.type);
  }
}

// The tensors say whether the head is the embedding; where tie_word_embeddings says otherwise, as
// it does in many a folder, a warning.
void ModelSource::DecideHead() {
  const std::string module = Name(arch().head);
  const std::string name = module + ".weight";
  const bool is_there = checkpoint_->ContainsModule(module);
  packed_head_ = PackedOuter(arch().head);
  const auto warn = [&](std::string_view text) {
    warnings_.push_back(fmt::format("{}: {}: {}", checkpoint_->path().string(), module, text));
  };
  if (!is_there && !config_.tied_head) {
    warn("is missing though config.json does not tie it to the embedding, which takes its place");
  }
  const bool is_embedding =
      !is_there || (config_.tied_head && !packed_head_ && !embedding_.packed &&
                    SameContent(checkpoint_->Get(name), embedding_.tokens));
  if (config_.tied_head && !is_embedding) {
    warn("is not the embedding though config.json says so; it is used as it is");
  }
  config_.tied_head = is_embedding;
}

void ModelSource::CheckTensors() {
  const int64_t hidden = config_.hidden;
  std::set<std::string, std::less<>> known;
  std::vector<std::string> unused_biases;
  const auto check = [&](std::string name, std::initializer_list<int64_t> shape) {
    checkpoint_->GetFloats(name, std::span(shape.begin(), shape.size()));
    known.insert(std::move(name));
  };
  const auto check_norm = [&](const TensorNames& module, int64_t layer, int64_t size) {
    if (module.empty()) return;
    check(Name(module, layer) + ".weight", {size});
    if (config_.norm == NormKind::kLayer) check(Name(module, layer) + ".bias", {size});
  };
  if (!embedding_.packed) check(Name(arch().embedding) + ".weight", {config_.vocab, hidden});
  if (!arch().positions.empty()) {
    check(Name(arch().positions) + ".weight",
          {config_.max_positions + config_.position_offset, hidden});
  }
  if (!config_.tied_head && !packed_head_) {
    check(Name(arch().head) + ".weight", {config_.vocab, hidden});
  }
  check_norm(arch().embedding_norm, 0, hidden);
  check_norm(arch().final_norm, 0, hidden);
  for (int64_t layer = 0; layer < config_.layers; ++layer) {
    for (const NormSpec& norm : arch().norms) check_norm(norm.module, layer, norm.size(config_));
    for (const FloatLinearSpec& spec : FloatLinearsOf(config_, layer)) {
      const std::string name = Name(spec.module, layer) + ".weight";
      if (IsGguf(*checkpoint_) && spec.channels == 1) {
        check(name, {hidden});
      } else {
        check(name, {spec.channels, hidden});
      }
    }
    for (const LayerLinear& linear : LinearsOf(config_, layer)) {
      const std::string module = Name(linear);
      const int64_t channels = linear.channels(config_), k = linear.k(config_);
      if (quantized()) {
        // They have another form, checked as they are loaded.
      } else if (IsStacked(linear)) {
        check(module + ".weight", {config_.mixture.experts, channels, k});
      } else if (IsTransposed()) {
        check(module + ".weight", {k, channels});
      } else {
        check(module + ".weight", {channels, k});
      }
      if (ExpectsBias(*linear.spec, module + ".bias")) {
        check(module + ".bias", {channels});
      } else if (checkpoint_->Contains(module + ".bias")) {
        unused_biases.push_back(module + ".bias");
      }
    }
  }
  if (!IsGguf(*checkpoint_)) {
    WarnOfBiases(unused_biases);
    return;
  }
  if (config_.rotary > 0) {
    known.emplace(kRopeFactors);
    if (HasLongRope(*checkpoint_))
      known.insert({std::string(kLongFactors), std::string(kShortFactors)});
  }
  for (const auto& [name, view] : checkpoint_->tensors()) {
    if (known.contains(name)) continue;
    throw Error("{}: tensor '{}': the architecture {} has no such tensor",
                checkpoint_->path().string(), name, arch().gguf_name);
  }
}

// Files of transformers have all biases that the config speaks of. Where only some linears of a
// GGUF file have one, those of the others are 0.
bool ModelSource::ExpectsBias(const LinearSpec& linear, const std::string& name) const {
  if (!HasBias(linear, config_)) return false;
  return !IsGguf(*checkpoint_) || linear.bias == Bias::kAlways || checkpoint_->Contains(name);
}

// Of linears that have none, as config.json or the architecture says.
void ModelSource::WarnOfBiases(const std::vector<std::string>& unused) {
  if (unused.empty()) return;
  warnings_.push_back(fmt::format(
      "{}: tensor '{}'{}: not used, as transformers does not: by config.json there is no such bias",
      checkpoint_->path().string(), unused.front(),
      unused.size() == 1 ? "" : fmt::format(" and {} others", unused.size() - 1)));
}

Json ModelSource::HfConfig() const {
  if (!IsGguf(*checkpoint_)) {
    Json json = TextConfig(checkpoint_->metadata());
    json["architectures"] = {arch().hf_class};
    json["tie_word_embeddings"] = config_.tied_head;
    // They name files of the source: code, which our architectures do without, and the weights.
    json.erase("auto_map");
    json.erase("custom_pipelines");
    json.erase("transformers_weights");
    return json;
  }
  Json json = {
      {"architectures", {arch().hf_class}},       {"model_type", arch().name},
      {"torch_dtype", TorchName(config_.dtype)},  {"vocab_size", config_.vocab},
      {"tie_word_embeddings", config_.tied_head},
  };
  json.update(arch().config_to_hf(config_));
  return json;
}

TokenizerFiles ModelSource::LoadTokenizer() const {
  if (!IsGguf(*checkpoint_)) return LoadTokenizerFiles(checkpoint_->path());
  return TokenizerFilesFromGguf(checkpoint_->metadata(), checkpoint_->path().string(),
                                location_.pre_tokenizer);
}

std::string ModelSource::Name(const TensorNames& names, int64_t layer, int64_t expert) const {
  if (IsGguf(*checkpoint_)) return LayerName(names.gguf, layer, expert);
  std::string_view name = names.hf;
  if (!name.starts_with(hf_prefix_)) return LayerName(name, layer, expert);
  name.remove_prefix(hf_prefix_.size());
  return std::string(prefix_) + LayerName(name, layer, expert);
}

std::string ModelSource::Name(const LayerLinear& linear) const {
  return Name(linear.spec->module, linear.layer, linear.mlp.expert);
}

std::string ModelSource::HfName(const TensorNames& names, int64_t layer, int64_t expert) {
  return LayerName(names.hf, layer, expert);
}

std::string ModelSource::HfName(const LayerLinear& linear) {
  return HfName(linear.spec->module, linear.layer, linear.mlp.expert);
}

// One tensor of a GGUF file holds the weights of all experts.
bool ModelSource::IsStacked(const LayerLinear& linear) const {
  return IsGguf(*checkpoint_) && linear.mlp.kind == MlpKind::kExpert;
}

bool ModelSource::IsTransposed() const {
  return !IsGguf(*checkpoint_) && arch().transposed_weights;
}

std::vector<float> ModelSource::ReadVector(const std::string& name) const {
  const TensorView& tensor = checkpoint_->Get(name);
  std::vector<float> values(static_cast<size_t>(tensor.ElementCount()));
  DequantizeRange(tensor, 0, values);
  CheckFinite(values, fmt::format("{}: tensor '{}'", checkpoint_->path().string(), name));
  return values;
}

Norm ModelSource::ReadNorm(const TensorNames& module, int64_t layer) const {
  Norm norm;
  if (module.empty()) return norm;
  const std::string name = Name(module, layer);
  norm.weight = ReadVector(name + ".weight");
  if (!IsGguf(*checkpoint_)) {
    for (float& weight : norm.weight) weight += arch().norm_offset;
  }
  if (config_.norm == NormKind::kLayer) norm.bias = ReadVector(name + ".bias");
  return norm;
}

LayerNorms ModelSource::ReadNorms(int64_t layer) const {
  LayerNorms norms;
  for (const NormSpec& norm : arch().norms) norms.at(norm.role) = ReadNorm(norm.module, layer);
  return norms;
}

std::vector<std::string> ModelSource::FloatLinearNames(int64_t layer) const {
  std::vector<std::string> names;
  for (const FloatLinearSpec& spec : FloatLinearsOf(config_, layer)) {
    names.push_back(HfName(spec.module, layer));
  }
  return names;
}

UsedTensor ModelSource::Used(const TensorNames& module, std::string_view suffix, int64_t layer,
                             int64_t expert) const {
  const std::string name = Name(module, layer, expert) + std::string(suffix);
  return {name, HfName(module, layer, expert) + std::string(suffix), &checkpoint_->Get(name)};
}

void ModelSource::AddNorm(const TensorNames& module, int64_t layer,
                          std::vector<UsedTensor>& tensors) const {
  if (module.empty()) return;
  tensors.push_back(Used(module, ".weight", layer));
  if (IsGguf(*checkpoint_)) tensors.back().less = arch().norm_offset;
  if (config_.norm == NormKind::kLayer) tensors.push_back(Used(module, ".bias", layer));
}

std::vector<UsedTensor> ModelSource::OuterTensors() const {
  const auto suffix = [](const std::optional<PackedLinear>& packed) {
    return !packed ? ".weight" : packed->columns() ? ".scales" : ".weight_scale";
  };
  std::vector<UsedTensor> tensors = {Used(arch().embedding, suffix(embedding_.packed), 0)};
  if (!arch().positions.empty()) tensors.push_back(Used(arch().positions, ".weight", 0));
  AddNorm(arch().embedding_norm, 0, tensors);
  AddNorm(arch().final_norm, 0, tensors);
  if (!config_.tied_head) tensors.push_back(Used(arch().head, suffix(packed_head_), 0));
  return tensors;
}

std::vector<UsedTensor> ModelSource::LayerVectors(int64_t layer) const {
  std::vector<UsedTensor> tensors;
  for (const NormSpec& norm : arch().norms) AddNorm(norm.module, layer, tensors);
  for (const FloatLinearSpec& spec : FloatLinearsOf(config_, layer)) {
    tensors.push_back(Used(spec.module, ".weight", layer));
  }
  for (const LayerLinear& linear : LinearsOf(config_, layer)) {
    if (!checkpoint_->Contains(Name(linear) + ".bias")) continue;
    tensors.push_back(Used(linear.spec->module, ".bias", layer, linear.mlp.expert));
  }
  return tensors;
}

std::vector<UsedTensor> ModelSource::LayerMatrices(int64_t layer) const {
  std::vector<UsedTensor> tensors;
  for (const LayerLinear& linear : LinearsOf(config_, layer)) {
    if (IsStacked(linear) && linear.mlp.expert > 0) continue;  // in the tensor of the first expert
    tensors.push_back(Used(linear.spec->module, ".weight", layer, linear.mlp.expert));
  }
  return tensors;
}

void ModelSource::ReadHeadRow(int64_t token, std::span<float> out) const {
  if (config_.tied_head) {
    embedding_.ReadToken(token, out);
  } else if (packed_head_) {
    packed_head_->DequantizeRow(token, out);
  } else {
    DequantizeRange(checkpoint_->Get(Name(arch().head) + ".weight"), token * config_.hidden, out);
  }
}

}  // namespace fptq
