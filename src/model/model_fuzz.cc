// Whole models: a config, the tensors that it asks for, a few of them changed, then 8 tokens.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/fuzz/target.h"
#include "base/half.h"
#include "base/test_paths.h"
#include "files/json_file.h"
#include "io/gguf_test_util.h"
#include "io/gptq_awq.h"
#include "model/model.h"

namespace fptq {
namespace {

struct FileTensor {
  DataType type = DataType::kF32;
  std::vector<int64_t> shape;
  std::string bytes;
};
using FileTensors = std::map<std::string, FileTensor>;

constexpr int64_t kMaxElements = int64_t{1} << 17;  // of a tensor, beyond which it is left out

// --- What is in a tensor ---

// Ordinary weights, unless the input asks for others.
float WeightValue(int64_t kind, int64_t index) {
  const auto x = static_cast<float>((index * 37 + 11) % 64 - 31) / 64;
  switch (kind) {
    case 1:
      return 0;
    case 2:
      return x * 1e-42f;
    case 3:
      return x * 1e38f;
    case 4:
      return index % 7 == 0 ? std::numeric_limits<float>::quiet_NaN() : x;
    case 5:
      return 1;
    default:
      return x;
  }
}
constexpr int64_t kMaxKind = 5;

template <typename T>
std::string BytesOf(int64_t count, auto value) {
  std::vector<T> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = value(i);
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string Fill(DataType type, int64_t count, int64_t kind) {
  const auto value = [&](int64_t i) { return WeightValue(kind, i); };
  if (type == DataType::kF32) return BytesOf<float>(count, value);
  if (type == DataType::kF16) {
    return BytesOf<uint16_t>(count, [&](int64_t i) { return F32ToF16(value(i)); });
  }
  if (type == DataType::kBF16) {
    return BytesOf<uint16_t>(count, [&](int64_t i) { return F32ToBF16(value(i)); });
  }
  if (type == DataType::kI8) {  // integers of 4 bits
    return BytesOf<int8_t>(count, [](int64_t i) { return static_cast<int8_t>(i * 7 % 16 - 8); });
  }
  const BlockSize block = BlockSizeOf(type);
  return BytesOf<uint8_t>(count / block.elements * block.bytes, [&](int64_t i) {
    return static_cast<uint8_t>(kind == 1 ? 0 : (i * 167 + 13) % 120);
  });
}

DataType TypeOf(std::string_view name) {
  for (int type = 0; type <= static_cast<int>(DataType::kMXFP4); ++type) {
    if (DataTypeName(static_cast<DataType>(type)) == name) return static_cast<DataType>(type);
  }
  return DataType::kF32;
}

FileTensor MakeTensor(DataType type, std::vector<int64_t> shape, int64_t kind) {
  int64_t count = 1;
  for (const int64_t dim : shape) {
    count =
        dim < 0 || dim > kMaxElements ? kMaxElements + 1 : std::min(count * dim, kMaxElements + 1);
  }
  return {type, std::move(shape), Fill(type, count > kMaxElements ? 0 : count, kind)};
}

// --- The tensors that a config asks for ---

class TensorMaker {
 public:
  // `input` is that of the targets below.
  TensorMaker(const Json& input, const ModelConfig& config, bool gguf)
      : config_(config), gguf_(gguf) {
    const JsonFields fields(input, "input");
    type_ = TypeOf(fields.StringOr("type", "F32"));
    kind_ = fields.IntOr("fill", 0, 0, kMaxKind);
    if (gguf) return;
    const JsonFields json(fields.Object("config"), "config");
    // Tensors of GPTQ and AWQ come by "tensors" alone: those that are there are quantized.
    if (json.Has("quantization_config") &&
        !IsGptqOrAwq(json.Object("quantization_config"), "config")) {
      quantization_ = QuantizationConfig::Parse(json.Object("quantization_config"), "config");
    }
  }

  FileTensors Make() {
    const ArchSpec& arch = *config_.arch;
    AddMatrix(arch.embedding, 0, config_.vocab, config_.hidden);
    AddMatrix(arch.positions, 0, config_.max_positions + config_.position_offset, config_.hidden);
    AddNorm(arch.embedding_norm, 0, config_.hidden);
    AddNorm(arch.final_norm, 0, config_.hidden);
    if (!config_.tied_head) AddMatrix(arch.head, 0, config_.vocab, config_.hidden);
    constexpr int64_t kMaxLayers = 3, kMaxExperts = 64;  // Files of more are large.
    for (int64_t layer = 0; layer < std::min(config_.layers, kMaxLayers); ++layer) {
      for (const NormSpec& norm : arch.norms) AddNorm(norm.module, layer, norm.size(config_));
      for (const LayerLinear& linear : LinearsOf(config_, layer)) {
        if (linear.mlp.expert < kMaxExperts) AddLinear(linear);
      }
      if (!config_.is_mixture(layer)) continue;
      AddMatrix(arch.router, layer, config_.mixture.experts, config_.hidden);
      if (config_.mixture.shared_width > 0) AddSharedGate(layer);
    }
    return std::move(tensors_);
  }

 private:
  std::string Name(const TensorNames& names, int64_t layer, int64_t expert = 0) const {
    return fmt::format(fmt::runtime(gguf_ ? names.gguf : names.hf), layer, expert);
  }

  void Add(const std::string& name, DataType type, std::vector<int64_t> shape) {
    FileTensor tensor = MakeTensor(type, std::move(shape), kind_);
    if (!tensor.bytes.empty()) tensors_[name] = std::move(tensor);
  }

  void AddMatrix(const TensorNames& names, int64_t layer, int64_t rows, int64_t k) {
    if (!names.empty()) Add(Name(names, layer) + ".weight", type_, {rows, k});
  }

  void AddVector(const TensorNames& names, int64_t layer, const char* suffix, int64_t size) {
    Add(Name(names, layer) + suffix, gguf_ ? DataType::kF32 : type_, {size});
  }

  void AddNorm(const TensorNames& names, int64_t layer, int64_t size) {
    if (names.empty()) return;
    AddVector(names, layer, ".weight", size);
    if (config_.norm == NormKind::kLayer) AddVector(names, layer, ".bias", size);
  }

  void AddSharedGate(int64_t layer) {
    const std::string name = Name(config_.arch->shared_gate, layer) + ".weight";
    Add(name, type_, gguf_ ? std::vector{config_.hidden} : std::vector{int64_t{1}, config_.hidden});
  }

  void AddLinear(const LayerLinear& linear) {
    const LinearSpec& spec = *linear.spec;
    const int64_t channels = linear.channels(config_), k = linear.k(config_);
    if (HasBias(spec, config_)) AddVector(spec.module, linear.layer, ".bias", channels);
    const std::string name = Name(spec.module, linear.layer, linear.mlp.expert);
    if (const auto how = quantization_ ? quantization_->Find(name) : std::nullopt) {
      AddQuantized(name, *how, channels, k);
    } else if (gguf_ && linear.mlp.kind == MlpKind::kExpert) {
      Add(name + ".weight", type_, {config_.mixture.experts, channels, k});
    } else if (!gguf_ && config_.arch->transposed_weights) {
      Add(name + ".weight", type_, {k, channels});
    } else {
      Add(name + ".weight", type_, {channels, k});
    }
  }

  void AddQuantized(const std::string& name, const LinearQuantization& how, int64_t channels,
                    int64_t k) {
    const int64_t group_size = how.group_size == LinearQuantization::kWholeRow ? k : how.group_size;
    const int64_t groups = (k + group_size - 1) / group_size, fields = 32 / how.weight_bits;
    const std::vector<int64_t> scales =
        how.per_tensor ? std::vector<int64_t>{1} : std::vector<int64_t>{channels, groups};
    Add(name + ".weight_scale", type_, scales);
    const bool packed = how.storage == WeightStorage::kPacked;
    if (packed) {
      Add(name + ".weight_packed", DataType::kI32, {channels, (k + fields - 1) / fields});
      tensors_[name + ".weight_shape"] = {DataType::kI64, {2}, Bytes(channels) + Bytes(k)};
    } else {
      const bool integers = how.storage == WeightStorage::kInt8;
      Add(name + ".weight", integers ? DataType::kI8 : type_, {channels, k});
    }
    if (!how.symmetric && packed) {
      Add(name + ".weight_zero_point", DataType::kI32, {(channels + fields - 1) / fields, groups});
    } else if (!how.symmetric) {
      Add(name + ".weight_zero_point", DataType::kI8, scales);
    }
    if (how.activations == ActivationQuantization::kStaticTensor) {
      tensors_[name + ".input_scale"] = {DataType::kF32, {1}, Bytes(0.05f)};
    }
  }

  const ModelConfig& config_;
  bool gguf_;
  DataType type_;
  int64_t kind_;
  std::optional<QuantizationConfig> quantization_;
  FileTensors tensors_;
};

// "tensors": {NAME: null, or {"type", "shape", "fill"}}: are left out, or as they say.
void ChangeTensors(const JsonFields& input, FileTensors& tensors) {
  if (!input.Has("tensors")) return;
  for (const auto& [name, change] : input.Object("tensors").items()) {
    if (!change.is_object()) {
      tensors.erase(name);
      continue;
    }
    const JsonFields fields(change, name);
    FileTensor& tensor = tensors[name];
    if (fields.Has("type")) tensor.type = TypeOf(fields.String("type"));
    if (fields.Has("shape")) {
      tensor.shape.clear();
      for (const Json& dim : fields.Array("shape")) {
        tensor.shape.push_back(dim.is_number_unsigned() ? dim.get<int64_t>() : 1);
      }
    }
    tensor = MakeTensor(tensor.type, tensor.shape, fields.IntOr("fill", 0, 0, kMaxKind));
  }
}

// --- Files ---

std::string SafetensorsFile(const FileTensors& tensors) {
  Json header = Json::object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", DataTypeName(tensor.type)},
                    {"shape", tensor.shape},
                    {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  const std::string text = header.dump();
  return U64(text.size()) + text + data;
}

// Whether a GGUF file can hold the value.
bool FitsGguf(const Json& value) {
  if (value.is_array()) return std::ranges::all_of(value, FitsGguf);
  return !value.is_null() && !value.is_object();
}

std::string GgufFile(const Json& metadata, const FileTensors& tensors) {
  constexpr std::pair<DataType, uint32_t> kTypes[] = {
      {DataType::kF32, 0},     {DataType::kF16, 1},    {DataType::kBF16, 30},
      {DataType::kQ4_0, 2},    {DataType::kQ4_1, 3},   {DataType::kQ5_0, 6},
      {DataType::kQ5_1, 7},    {DataType::kQ8_0, 8},   {DataType::kQ4_K, 12},
      {DataType::kQ5_K, 13},   {DataType::kQ6_K, 14},  {DataType::kI32, 26},
      {DataType::kQ2_K, 10},   {DataType::kQ3_K, 11},  {DataType::kIQ4_NL, 20},
      {DataType::kIQ4_XS, 23}, {DataType::kTQ1_0, 34}, {DataType::kTQ2_0, 35},
      {DataType::kMXFP4, 39}};
  constexpr size_t kAlignment = 32;
  Parts parts;
  for (const auto& [name, value] : metadata.items()) {
    if (!FitsGguf(value)) continue;
    const auto [type, bytes] = GgufTypedValue(value);
    parts.pairs.push_back(Pair(name, type, bytes));
  }
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const auto* type =
        std::ranges::find(kTypes, tensor.type, &std::pair<DataType, uint32_t>::first);
    const std::vector<uint64_t> dims(tensor.shape.rbegin(), tensor.shape.rend());
    parts.tensors.push_back(
        Tensor(name, dims, type == std::end(kTypes) ? UINT32_MAX : type->second, data.size()));
    data += tensor.bytes;
    data.resize((data.size() + kAlignment - 1) / kAlignment * kAlignment);
  }
  return File(parts, kAlignment) + data;
}

// --- Running a model ---

// "prompt" of the input; whatever it is, ids of the vocabulary.
std::vector<int32_t> Prompt(const Json& input, int64_t size, int64_t vocab) {
  std::vector<int32_t> tokens;
  if (const auto prompt = input.find("prompt"); prompt != input.end()) {
    for (const Json& token : *prompt) {
      if (!token.is_number_unsigned()) continue;
      tokens.push_back(static_cast<int32_t>(token.get<uint64_t>() % static_cast<uint64_t>(vocab)));
    }
  }
  tokens.resize(static_cast<size_t>(size), static_cast<int32_t>(1 % vocab));
  return tokens;
}

// A prompt of 5 tokens, then 3 one by one.
void Run(const std::filesystem::path& path, const Json& input) {
  constexpr int64_t kPrompt = 5, kTokens = 8;
  static ThreadPool pool(1);
  const bool int8 = JsonFields(input, "input").BoolOr("int8", false);
  const auto model = LoadModel(path, pool, int8 ? FloatForm::kInt8 : FloatForm::kFloat32);
  const ModelConfig& config = model->config();
  const int64_t capacity = std::min(kTokens, config.max_positions);
  const std::vector<int32_t> tokens = Prompt(input, capacity, config.vocab);
  const std::vector<int32_t> pages = PageRange(0, PagesFor(capacity));
  KvCache cache(config, model->kv_type(), std::ssize(pages), config.layers);
  Activations act(config, kPrompt, /*max_logits_rows=*/1);
  for (int64_t at = 0; at < capacity;) {
    const int64_t rows = at == 0 ? std::min(kPrompt, capacity) : 1;
    ForwardBatch batch;
    batch.chunks.push_back(
        {.pages = pages,
         .first_position = at,
         .tokens = std::span(tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(rows)),
         .logits = 1});
    Forward(*model, batch, cache, pool, act);
    at += rows;
  }
}

const std::string& SmallTokenizer() {
  static const std::string text =
      ReadJsonFile(std::filesystem::path(kTestdata) / "models/tiny-llama-f32/tokenizer.json")
          .dump();
  return text;
}

}  // namespace

// {"config": config.json, "type": of the weights, "fill": what they are, "tensors": changes,
// "prompt": ids, "int8": bool, and other files of the folder by name}
FPTQ_FUZZ_TARGET(model_folder, kJson) {
  static const FuzzFolder folder;
  const Json json = ParseJson(input, "input");
  const JsonFields fields(json, "input");
  const JsonFields config_fields(fields.Object("config"), "config");
  for (const char* name : {"config", "tokenizer", "tokenizer_config", "generation_config"}) {
    const std::string file = std::string(name) + ".json";
    if (fields.Has(name)) {
      folder.Write(file, json[name].dump());
    } else if (std::string_view(name) == "tokenizer") {
      folder.Write(file, SmallTokenizer());
    } else {
      std::filesystem::remove(folder.path() / file);
    }
  }
  const ModelConfig config = ReadHfConfig(config_fields);
  Validate(config, "config");
  FileTensors tensors = TensorMaker(json, config, /*gguf=*/false).Make();
  ChangeTensors(fields, tensors);
  folder.Write("model.safetensors", SafetensorsFile(tensors));
  Run(folder.path(), json);
}

// The same with "metadata" instead of "config", and what that does not say: "head" and "biases".
FPTQ_FUZZ_TARGET(model_gguf, kJson) {
  static const FuzzFolder folder;
  const Json json = ParseJson(input, "input");
  const JsonFields fields(json, "input");
  const Json& metadata = fields.Object("metadata");
  const JsonFields metadata_fields(metadata, "metadata");
  ModelConfig config = ReadGgufConfig(metadata_fields);
  config.vocab = metadata_fields.Has("tokenizer.ggml.tokens")
                     ? std::ssize(metadata_fields.Array("tokenizer.ggml.tokens"))
                     : 0;
  config.tied_head = !fields.BoolOr("head", false);
  config.attention_bias = config.mlp_bias = fields.BoolOr("biases", false);
  Validate(config, "metadata");
  FileTensors tensors = TensorMaker(json, config, /*gguf=*/true).Make();
  ChangeTensors(fields, tensors);
  Run(folder.Write("model.gguf", GgufFile(metadata, tensors)), json);
}

}  // namespace fptq
