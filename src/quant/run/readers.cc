#include "quant/run/readers.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "model/arch/arch.h"

namespace fptq {
namespace {

// A linear, and how many channels those that vLLM joins with it have together.
struct StoredLinear {
  LinearQuantization how;
  int64_t k = 0, site_channels = 0;
  bool alike = true;  // those that vLLM joins with it are quantized as it is
};

// vLLM has schemes for integer weights in 4-bit words whose inputs are float or int8 per token, and
// for 8-bit weights with a scale a channel whose inputs are int8 of either kind. Its int8 scheme
// knows but symmetric weights.
std::string WhyNotVllm(const StoredLinear& linear) {
  const LinearQuantization& how = linear.how;
  if (!linear.alike) return "other bits or groups than those that it joins with them";
  const bool is_static = how.activations == ActivationQuantization::kStaticTensor;
  const bool whole_row = how.group_size == LinearQuantization::kWholeRow;
  switch (how.storage) {
    case WeightStorage::kPacked:
      if (is_static) return "static int8 inputs of weights in pack-quantized";
      return how.per_tensor ? "one weight scale for a whole tensor in pack-quantized" : "";
    case WeightStorage::kInt8:
      if (how.activations == ActivationQuantization::kNone) return "int8 weights of float inputs";
      if (how.weight_bits != 8) return "4-bit weights in int-quantized";
      if (!how.symmetric) return "asymmetric 8-bit weights";
      return whole_row ? "" : "8-bit weights in groups in int-quantized";
    case WeightStorage::kFloat:
      return "weights that are stored as floats, though the config calls them quantized";
    case WeightStorage::kGptq:
    case WeightStorage::kGptqV2:
    case WeightStorage::kAwq:
      return "";  // schemes of its own
  }
  return "";
}

// Its kernel for pack-quantized on x86 is for 4 bits and multiples of 32.
std::string WhyNotVllmCpu(const StoredLinear& linear) {
  if (std::string reason = WhyNotVllm(linear); !reason.empty()) return reason;
  if (linear.how.storage != WeightStorage::kPacked) return "";
  if (linear.how.weight_bits != 4) return "8-bit weights in pack-quantized";
  if (linear.k % 32 != 0) return "inputs that are no multiple of 32";
  return linear.site_channels % 32 != 0 ? "outputs that are no multiple of 32" : "";
}

std::string WhyNotVllmGpu(const StoredLinear& linear) {
  if (std::string reason = WhyNotVllm(linear); !reason.empty()) return reason;
  if (linear.how.storage != WeightStorage::kPacked) return "";
  return linear.site_channels % 8 != 0 ? "outputs that are no multiple of 8" : "";
}

std::vector<StoredLinear> StoredLinears(const ModelSource& source) {
  const ModelConfig& config = source.config();
  std::vector<StoredLinear> linears;
  for (int64_t layer = 0; layer < source.config().layers; ++layer) {
    for (const LayerLinear& linear : LinearsOf(config, layer)) {
      const auto how = source.quantization()->Find(source.Name(linear));
      if (!how) continue;
      StoredLinear& stored = linears.emplace_back();
      stored.how = *how;
      stored.k = linear.k(config);
      for (const LayerLinear& other : LinearsOf(config, layer, linear.spec->site, linear.mlp)) {
        if (config.shared_norm && other.spec != linear.spec) continue;  // it joins none of those
        stored.site_channels += other.channels(config);
        stored.alike &= source.quantization()->Find(source.Name(other)) == how;
      }
    }
  }
  const auto add = [&](const std::optional<PackedLinear>& packed) {
    if (!packed) return;
    linears.push_back(
        {.how = packed->quantization, .k = config.hidden, .site_channels = config.vocab});
  };
  add(source.packed_head());
  add(source.embedding().packed);
  return linears;
}

Reader Judge(std::string_view name, const std::vector<StoredLinear>& linears,
             std::string (*why_not)(const StoredLinear&), std::string how) {
  std::map<std::string, int64_t> reasons;
  for (const StoredLinear& linear : linears) {
    if (const std::string reason = why_not(linear); !reason.empty()) ++reasons[reason];
  }
  if (reasons.empty()) return {.name = name, .reads = true, .reason = std::move(how)};
  std::string text;
  for (const auto& [reason, count] : reasons) {
    text += fmt::format("{}{} of {} linears have {}", text.empty() ? "" : "; ", count,
                        linears.size(), reason);
  }
  return {.name = name, .reads = false, .reason = std::move(text)};
}

}  // namespace

std::vector<Reader> ReadersOf(const ModelSource& source) {
  constexpr std::string_view kTransformers = "transformers", kCpu = "vLLM on CPUs",
                             kGpu = "vLLM on GPUs";
  if (source.checkpoint().format() == Checkpoint::Format::kGguf) {
    return {{kTransformers, true, "as floats, with gguf_file"},
            {kCpu, false, "GGUF files need a plugin there"},
            {kGpu, false, "GGUF files need a plugin there"}};
  }
  if (!source.quantized()) {
    return {
        {kTransformers, true, "as floats"}, {kCpu, true, "as floats"}, {kGpu, true, "as floats"}};
  }
  const std::vector<StoredLinear> linears = StoredLinears(source);
  const auto is_compressed = [](const StoredLinear& linear) {
    return linear.how.storage == WeightStorage::kPacked ||
           linear.how.storage == WeightStorage::kInt8 ||
           linear.how.storage == WeightStorage::kFloat;
  };
  if (!std::ranges::all_of(linears, is_compressed)) {
    return {{kTransformers, true, "with a package for GPTQ or AWQ beside it"},
            {kCpu, true, "by its schemes for GPTQ and AWQ, which was not tried"},
            {kGpu, true, "by its schemes for GPTQ and AWQ, which was not tried"}};
  }
  Reader transformers = {kTransformers, true,
                         "by compressed-tensors, which computes in floats what int8 would give"};
  if (const std::string_view obstacle = source.arch().transformers_obstacle; !obstacle.empty()) {
    transformers.reads = false;
    transformers.reason = obstacle;
  } else if (source.config().tied_head && source.embedding().packed) {
    transformers.reads = false;
    transformers.reason = "the embedding that lm_head is tied to has integers";
  }
  // It makes room for a zero point a group, not for the words that hold eight of them.
  const bool has_zero_words = std::ranges::any_of(linears, [](const StoredLinear& linear) {
    return linear.how.storage == WeightStorage::kPacked && !linear.how.symmetric;
  });
  if (transformers.reads && has_zero_words) {
    transformers.reads = false;
    transformers.reason = "zero points of packed weights, at which compressed-tensors 0.20 fails";
  }
  return {std::move(transformers),
          Judge(kCpu, linears, WhyNotVllmCpu,
                "weights as stored; inputs of 4-bit weights stay float there, by a kernel that "
                "needs AVX-512; with fptq_vllm neither is so"),
          Judge(kGpu, linears, WhyNotVllmGpu,
                "weights as stored; inputs of 4-bit weights stay float there, but by its Humming "
                "kernel")};
}

std::string ReadersText(const std::vector<Reader>& readers) {
  std::string reads, others;
  for (const Reader& reader : readers) {
    if (reader.reads) {
      reads += fmt::format("{}{}", reads.empty() ? "" : ", ", reader.name);
    } else {
      others += fmt::format("; not {}: {}", reader.name, reader.reason);
    }
  }
  return (reads.empty() ? "none" : reads) + others;
}

}  // namespace fptq
