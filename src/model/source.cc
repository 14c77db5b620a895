#include "model/source.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace fptq {
namespace {

bool IsGguf(const Checkpoint& checkpoint) {
  return checkpoint.format() == Checkpoint::Format::kGguf;
}

std::string LayerName(std::string_view name, int64_t layer) {
  return fmt::format(fmt::runtime(name), layer);
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

int32_t TokenId(const Json& id, std::string_view where, std::string_view field) {
  if (!id.is_number_integer() || id < 0 || id > INT32_MAX) {
    throw Error("{}: {}: expected a token id, found {}", where, field, id.dump());
  }
  return id.get<int32_t>();
}

// eos_token_id is one id or a list of them; generation_config.json knows more of them than
// config.json.
void AddEosTokens(const Json& object, const std::string& where, std::vector<int32_t>& eos) {
  const auto found = object.find("eos_token_id");
  if (found == object.end() || found->is_null()) return;
  const Json ids = found->is_array() ? *found : Json::array({*found});
  for (const Json& id : ids) {
    const int32_t token = TokenId(id, where, "eos_token_id");
    if (std::ranges::find(eos, token) == eos.end()) eos.push_back(token);
  }
}

ModelConfig HuggingFaceConfig(const Checkpoint& checkpoint) {
  const std::string where = (checkpoint.path() / "config.json").string();
  const JsonFields fields(checkpoint.metadata(), where);
  const ArchSpec& arch = FindArch(fields.String("model_type"), where);
  ModelConfig config = arch.config_from_hf(fields);
  config.arch = &arch;
  const Json& bos = checkpoint.metadata().value("bos_token_id", Json());
  if (!bos.is_null()) config.bos_token = TokenId(bos, where, "bos_token_id");
  AddEosTokens(checkpoint.metadata(), where, config.eos_tokens);
  const std::filesystem::path generation = checkpoint.path() / "generation_config.json";
  if (std::filesystem::exists(generation)) {
    AddEosTokens(ReadJsonFile(generation), generation.string(), config.eos_tokens);
  }
  Validate(config, where);
  return config;
}

ModelConfig GgufConfig(const Checkpoint& checkpoint) {
  const std::string where = checkpoint.path().string();
  const Json& metadata = checkpoint.metadata();
  const JsonFields fields(metadata, where);
  const ArchSpec& arch = FindArch(fields.String("general.architecture"), where);
  ModelConfig config = arch.config_from_gguf(fields);
  config.arch = &arch;
  config.tied_head = !checkpoint.Contains(std::string(arch.head.gguf) + ".weight");
  const int64_t tokens =
      fields.Has("tokenizer.ggml.tokens") ? std::ssize(fields.Array("tokenizer.ggml.tokens")) : 0;
  config.vocab = fields.IntOr(fmt::format("{}.vocab_size", arch.name), tokens, 0, INT32_MAX);
  for (const char* name : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    if (fields.Has(name)) config.eos_tokens.push_back(TokenId(metadata[name], where, name));
  }
  if (fields.Has("tokenizer.ggml.bos_token_id")) {
    config.bos_token =
        TokenId(metadata["tokenizer.ggml.bos_token_id"], where, "tokenizer.ggml.bos_token_id");
  }
  Validate(config, where);
  return config;
}

}  // namespace

std::vector<float>& SourceLayer::norm(ActSite site) {
  return const_cast<std::vector<float>&>(std::as_const(*this).norm(site));
}

const std::vector<float>& SourceLayer::norm(ActSite site) const {
  FPTQ_CHECK(site == ActSite::kAttnIn || site == ActSite::kMlpIn);
  return site == ActSite::kAttnIn ? attn_norm : mlp_norm;
}

ModelSource ModelSource::Open(const std::filesystem::path& path) {
  ModelSource source;
  source.checkpoint_ = Checkpoint::Open(path);
  const Checkpoint& checkpoint = source.checkpoint();
  source.config_ = IsGguf(checkpoint) ? GgufConfig(checkpoint) : HuggingFaceConfig(checkpoint);
  if (!IsGguf(checkpoint) && checkpoint.metadata().contains("quantization_config")) {
    source.quantization_ = CompressedTensorsConfig::Parse(
        checkpoint.metadata()["quantization_config"], (path / "config.json").string());
  }

  const ModelConfig& config = source.config();
  const ArchSpec& arch = source.arch();
  const std::array<int64_t, 2> embedding_shape = {config.vocab, config.hidden};
  source.embedding_ = &checkpoint.Get(source.Name(arch.embedding), embedding_shape);
  source.config_.dtype = StorageType(source.embedding().type);
  if (!config.tied_head) checkpoint.Get(source.Name(arch.head) + ".weight", embedding_shape);
  const std::array<int64_t, 1> norm_shape = {config.hidden};
  checkpoint.Get(source.Name(arch.final_norm), norm_shape);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    checkpoint.Get(source.Name(arch.attn_norm, layer), norm_shape);
    checkpoint.Get(source.Name(arch.mlp_norm, layer), norm_shape);
    if (source.quantized())
      continue;  // their tensors have another form, checked as they are loaded
    for (const LinearSpec& linear : arch.linears) {
      const std::array<int64_t, 2> shape = {linear.channels(config),
                                            SiteInputs(config, linear.site)};
      checkpoint.Get(source.Name(linear.module, layer) + ".weight", shape);
    }
  }
  return source;
}

Json ModelSource::HfConfig() const {
  if (!IsGguf(*checkpoint_)) return checkpoint_->metadata();
  Json json = {
      {"architectures", {arch().hf_class}},       {"model_type", arch().name},
      {"torch_dtype", TorchName(config_.dtype)},  {"vocab_size", config_.vocab},
      {"tie_word_embeddings", config_.tied_head},
  };
  if (config_.bos_token >= 0) json["bos_token_id"] = config_.bos_token;
  if (config_.eos_tokens.size() == 1) json["eos_token_id"] = config_.eos_tokens[0];
  if (config_.eos_tokens.size() > 1) json["eos_token_id"] = config_.eos_tokens;
  json.update(arch().config_to_hf(config_));
  return json;
}

TokenizerFiles ModelSource::LoadTokenizer() const {
  if (!IsGguf(*checkpoint_)) return LoadTokenizerFiles(checkpoint_->path());
  return TokenizerFilesFromGguf(checkpoint_->metadata(), checkpoint_->path().string());
}

std::string ModelSource::Name(const TensorNames& names, int64_t layer) const {
  return LayerName(IsGguf(*checkpoint_) ? names.gguf : names.hf, layer);
}

std::string ModelSource::HfName(const TensorNames& names, int64_t layer) {
  return LayerName(names.hf, layer);
}

std::vector<float> ModelSource::ReadVector(const std::string& name) const {
  const TensorView& tensor = checkpoint_->Get(name);
  std::vector<float> values(static_cast<size_t>(tensor.ElementCount()));
  DequantizeRange(tensor, 0, values);
  CheckFinite(values, fmt::format("{}: tensor '{}'", checkpoint_->path().string(), name));
  return values;
}

SourceLayer ModelSource::ReadLayer(int64_t layer) const {
  FPTQ_CHECK(!quantized());
  SourceLayer result;
  result.attn_norm = ReadVector(Name(arch().attn_norm, layer));
  result.mlp_norm = ReadVector(Name(arch().mlp_norm, layer));
  for (const ActSite site : kAllActSites) {
    result.linears[static_cast<int>(site)] = ReadSite(layer, site);
  }
  return result;
}

std::vector<SourceLinear> ModelSource::ReadSite(int64_t layer, ActSite site) const {
  std::vector<SourceLinear> linears;
  for (const LinearSpec& spec : arch().linears) {
    if (spec.site == site) linears.push_back(ReadLinear(spec, layer));
  }
  return linears;
}

SourceLinear ModelSource::ReadLinear(const LinearSpec& spec, int64_t layer) const {
  SourceLinear linear;
  linear.name = HfName(spec.module, layer);
  linear.channels = spec.channels(config_);
  linear.k = SiteInputs(config_, spec.site);
  linear.weight.Resize(CheckedMultiply(linear.channels, linear.k, linear.name));

  const std::string module = Name(spec.module, layer);
  const TensorView& weight =
      checkpoint_->Get(module + ".weight", std::array{linear.channels, linear.k});
  std::vector<float> bias;
  if (checkpoint_->Contains(module + ".bias")) {
    checkpoint_->Get(module + ".bias", std::array<int64_t, 1>{linear.channels});
    bias = ReadVector(module + ".bias");
  }
  // Row `channel` of the model stands at row `stored` of the file.
  const bool paired = spec.row_order == RowOrder::kGgufRotaryPairs && IsGguf(*checkpoint_);
  const int64_t half = config_.head_dim / 2;
  linear.bias.resize(bias.size());
  for (int64_t channel = 0; channel < linear.channels; ++channel) {
    int64_t stored = channel;
    if (paired) {
      const int64_t in_head = channel % config_.head_dim;
      stored = channel - in_head + in_head % half * 2 + in_head / half;
    }
    const auto row = linear.weight.span().subspan(static_cast<size_t>(channel * linear.k),
                                                  static_cast<size_t>(linear.k));
    DequantizeRange(weight, stored * linear.k, row);
    if (!bias.empty())
      linear.bias[static_cast<size_t>(channel)] = bias[static_cast<size_t>(stored)];
  }
  CheckFinite(linear.weight.span(),
              fmt::format("{}: tensor '{}.weight'", checkpoint_->path().string(), module));
  return linear;
}

const TensorView& ModelSource::head() const {
  return config_.tied_head ? embedding() : checkpoint_->Get(Name(arch().head) + ".weight");
}

}  // namespace fptq
