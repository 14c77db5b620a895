#include "model/arch/gguf_config.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "io/gguf_test_util.h"
#include "model/positions.h"
#include "model/source.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;
const fs::path kModels = fs::path(kTestdata) / "models";

// A tiny model after a change: its config, or the error that opening it gives.
ModelConfig OpenGguf(const std::function<void(GgufModel&)>& change,
                     const char* name = "tiny-llama-gguf") {
  const TempFolder folder;
  EditGguf(kModels / name / "model.gguf", folder / "m.gguf", change);
  return ModelSource::Open(folder / "m.gguf").config();
}

ModelConfig WithMetadata(const Json& pairs, const char* name = "tiny-llama-gguf") {
  return OpenGguf([&](GgufModel& model) { model.metadata.update(pairs); }, name);
}

// llama.cpp scales by a factor whatever names it and unless the type says none.
TEST(GgufConfig, ReadsLinearRopeScalingUnderAllItsNames) {
  const RopeScaling four = {.kind = RopeScaling::Kind::kLinear, .factor = 4};
  const auto scaling = [](const Json& pairs) { return WithMetadata(pairs).rope.scaling; };
  EXPECT_EQ(scaling(Json::object()), RopeScaling());
  EXPECT_EQ(scaling({{"llama.rope.scaling.type", "linear"}, {"llama.rope.scaling.factor", 4.0}}),
            four);
  EXPECT_EQ(scaling({{"llama.rope.scaling.factor", 4.0}}), four);
  EXPECT_EQ(scaling({{"llama.rope.scale_linear", 4.0}}), four);
  EXPECT_EQ(scaling({{"llama.rope.scale_linear", 8.0}, {"llama.rope.scaling.factor", 4.0}}), four);
  EXPECT_EQ(scaling({{"llama.rope.scaling.type", "none"}, {"llama.rope.scaling.factor", 4.0}}),
            RopeScaling());
  EXPECT_EQ(scaling({{"llama.rope.scaling.factor", 1.0}}), RopeScaling());
  EXPECT_EQ(scaling({{"llama.rope.scaling.factor", 0.0}}), RopeScaling());
  for (const char* type : {"su", "dynamic"}) {
    EXPECT_ERROR("llama.rope.scaling.type",
                 scaling({{"llama.rope.scaling.type", type}, {"llama.rope.scaling.factor", 4.0}}));
  }
  EXPECT_ERROR("rope_factors_long.weight", scaling({{"llama.rope.scaling.type", "longrope"}}));
}

TEST(GgufConfig, ReadsYarn) {
  const Json pairs = {{"llama.rope.scaling.type", "yarn"},
                      {"llama.rope.scaling.factor", 4.0},
                      {"llama.rope.scaling.original_context_length", 64}};
  const RopeScaling found = WithMetadata(pairs).rope.scaling;
  EXPECT_EQ(found.kind, RopeScaling::Kind::kYarn);
  EXPECT_EQ(found.factor, 4);
  EXPECT_EQ(found.original_positions, 64);
  EXPECT_EQ(found.attention_factor, YarnAttentionFactor(4));
}

TEST(GgufConfig, GptNeoxReadsWhatTheOthersRead) {
  Json metadata = {{"general.architecture", "gptneox"},
                   {"gptneox.block_count", 2},
                   {"gptneox.embedding_length", 64},
                   {"gptneox.feed_forward_length", 256},
                   {"gptneox.attention.head_count", 4},
                   {"gptneox.context_length", 128},
                   {"gptneox.attention.layer_norm_epsilon", 1e-5},
                   {"gptneox.rope.dimension_count", 4}};
  const auto read = [&] {
    const JsonFields fields(metadata, "model.gguf");
    return FindGgufArch(fields).config_from_gguf(fields);
  };
  EXPECT_EQ(read().rotary, 4);
  EXPECT_EQ(read().rope.scaling.kind, RopeScaling::Kind::kNone);
  metadata["gptneox.rope.scale_linear"] = 4.0;
  EXPECT_EQ(read().rope.scaling.factor, 4);
  metadata["gptneox.attention.head_count_kv"] = 2;
  EXPECT_ERROR("gptneox.attention.head_count_kv: expected the 4 attention heads, found 2", read());
  metadata["gptneox.attention.head_count_kv"] = 4;
  metadata["gptneox.attention.key_length"] = 32;
  EXPECT_ERROR("gptneox.attention.key_length: expected 16, found 32", read());
}

// The tensors say how many norms a layer of Falcon has.
TEST(GgufConfig, FalconHasOneNormOrTwo) {
  const char* const model = "tiny-falcon-grouped-gguf";
  const ModelConfig two = WithMetadata(Json::object(), model);
  EXPECT_TRUE(two.parallel_residual && !two.shared_norm);
  EXPECT_EQ(two.kv_heads, 2);
  const ModelConfig shared = OpenGguf(
      [](GgufModel& gguf) {
        std::erase_if(gguf.tensors, [](const auto& item) {
          return item.first.find("attn_norm_2") != std::string::npos;
        });
      },
      model);
  EXPECT_TRUE(shared.parallel_residual && shared.shared_norm);
  EXPECT_ERROR(
      "blk.1.attn_norm_2.weight",
      OpenGguf([](GgufModel& gguf) { gguf.tensors.erase("blk.1.attn_norm_2.weight"); }, model));
  EXPECT_ERROR("falcon.tensor_data_layout: expected jploski, found 'other'",
               WithMetadata({{"falcon.tensor_data_layout", "other"}}, model));
  EXPECT_ERROR("falcon.rope.dimension_count",
               WithMetadata({{"falcon.rope.dimension_count", 4}}, model));
  EXPECT_ERROR("falcon.attention.key_length",
               WithMetadata({{"falcon.attention.key_length", 16}}, model));
  EXPECT_ERROR("falcon.use_parallel_residual",
               WithMetadata({{"falcon.use_parallel_residual", false}}, model));
}

struct Unsupported {
  const char* key;  // without "ARCH."
  Json neutral;
  Json changing;
};
const Unsupported kUnsupported[] = {
    {"attention.causal", true, false},
    {"attention.clamp_kqv", 0.0, 8.0},
    {"attention.output_scale", 1.0, 0.5},
    {"attention.rope_pattern", Json::array({1, 1}), Json::array({1, 0})},
    {"attention.scale", 0.0, 0.5},
    {"attention.shared_kv_layers", 0, 1},
    {"attention.sliding_window", 0, 12},
    {"attention.temperature_length", 0, 8192},
    {"attention.temperature_scale", 0.0, 0.1},
    {"attention.value_scale", 0.0, 0.5},
    {"attn_logit_softcapping", 0.0, 50.0},
    {"embedding_scale", 1.0, 12.0},
    {"expert_used_count", 0, 2},
    {"final_logit_softcapping", 0.0, 30.0},
    {"logit_scale", 1.0, 0.0625},
    {"nextn_predict_layers", 0, 1},
    {"num_loops", 1, 2},
    {"residual_scale", 1.0, 0.22},
    {"rope.scaling.alpha", 1.0, 1000.0},
    {"rope.scaling.attn_factor", 1.0, 1.19},
    {"rope.scaling.yarn_attn_factor", 1.0, 1.19},
    {"rope.scaling.yarn_ext_factor", -1.0, 1.0},
    {"swiglu_clamp_exp", Json::array({0.0, 0.0}), Json::array({0.0, 7.0})},
    {"swin_norm", false, true},
    {"use_parallel_residual", false, true},
};

// "llama" with experts is Mixtral; BLOOM has none.
TEST(GgufConfig, ReadsExperts) {
  EXPECT_EQ(WithMetadata({{"llama.expert_count", 0}}).arch->name, "llama");
  EXPECT_ERROR("llama.expert_used_count", WithMetadata({{"llama.expert_count", 8}}));
  EXPECT_ERROR("blk.0.ffn_gate_inp.weight",
               WithMetadata({{"llama.expert_count", 8}, {"llama.expert_used_count", 2}}));
  EXPECT_ERROR("experts of a token: expected 1 to 2, found 3",
               WithMetadata({{"llama.expert_count", 2}, {"llama.expert_used_count", 3}}));
  EXPECT_ERROR("llama.expert_count", WithMetadata({{"llama.expert_count", -1}}));
  EXPECT_ERROR("bloom.expert_count: expected none or 0",
               WithMetadata({{"bloom.expert_count", 8}}, "tiny-bloom-gguf"));
  const ModelConfig config =
      WithMetadata({{"qwen3moe.expert_weights_scale", 0.0}}, "tiny-qwen3-moe-gguf");
  EXPECT_EQ(config.mixture.experts, 8);
  EXPECT_EQ(config.mixture.active, 2);
  EXPECT_EQ(config.mixture.width, 32);
  EXPECT_TRUE(config.mixture.normalized);
}

TEST(GgufConfig, RefusesByNameWhatChangesTheResult) {
  for (const char* arch : {"llama", "bloom"}) {
    const std::string model = std::string("tiny-") + arch + "-gguf";
    const auto open = [&](const char* key, const Json& value) {
      WithMetadata({{GgufKey(arch, key), value}}, model.c_str());
    };
    for (const Unsupported& row : kUnsupported) {
      EXPECT_EQ(ErrorOf([&] { open(row.key, row.neutral); }), "") << row.key;
      EXPECT_ERROR(": " + GgufKey(arch, row.key) + ": ", open(row.key, row.changing));
    }
    // Unknown ones and those that describe the file change nothing.
    for (const char* key : {"pooling_type", "rope.freq_base_swa", "novel.count",
                            "rope.scaling.original_context_length", "expert_weights_scale"}) {
      EXPECT_EQ(ErrorOf([&] { open(key, 2); }), "") << key;
    }
  }
}

TEST(GgufConfig, RefusesValuesThatDoNotFitTheDimensions) {
  EXPECT_EQ(WithMetadata({{"llama.attention.scale", 0.17677669}}).head_dim, 32);  // 32^-0.5
  EXPECT_EQ(WithMetadata({{"llama.attention.value_length", 32}}).head_dim, 32);
  EXPECT_ERROR("llama.attention.value_length",
               WithMetadata({{"llama.attention.value_length", 16}}));
  EXPECT_ERROR("llama.rope.dimension_count: expected the head dimension 32, found 16",
               WithMetadata({{"llama.rope.dimension_count", 16}}));
  EXPECT_ERROR("llama.attention.max_alibi_bias",
               WithMetadata({{"llama.attention.max_alibi_bias", 8.0}}));
  WithMetadata({{"bloom.attention.max_alibi_bias", 8.0}}, "tiny-bloom-gguf");
  EXPECT_ERROR("bloom.attention.max_alibi_bias",
               WithMetadata({{"bloom.attention.max_alibi_bias", 16.0}}, "tiny-bloom-gguf"));
  WithMetadata({{"llama.hidden_activation", "silu"}});
  EXPECT_ERROR("llama.hidden_activation", WithMetadata({{"llama.hidden_activation", "gelu"}}));
  WithMetadata({{"tokenizer.ggml.suppress_tokens", Json::array()}});
  EXPECT_ERROR("tokenizer.ggml.suppress_tokens",
               WithMetadata({{"tokenizer.ggml.suppress_tokens", Json::array({3})}}));
}

TEST(GgufConfig, ReadsDimensionsGivenForEachLayer) {
  const ModelConfig config = WithMetadata({{"llama.attention.head_count", Json::array({4, 4})},
                                           {"llama.attention.head_count_kv", Json::array({2, 2})},
                                           {"llama.feed_forward_length", Json::array({96, 96})}});
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.kv_heads, 2);
  for (const char* key : {"llama.attention.head_count", "llama.attention.head_count_kv",
                          "llama.feed_forward_length"}) {
    EXPECT_ERROR(std::string(key) + ": expected the same number in all layers, found 4 and 2",
                 WithMetadata({{key, Json::array({4, 2})}}));
    EXPECT_ERROR(std::string(key) + ": expected a number for each of the 2 layers, found 3",
                 WithMetadata({{key, Json::array({4, 4, 4})}}));
    EXPECT_ERROR(key, WithMetadata({{key, Json::array({4.5, 4.5})}}));
  }
}

TEST(GgufConfig, RefusesTensorsThatItDoesNotUse) {
  for (const char* name :
       {"blk.0.attn_q.scale", "blk.1.attn_q_norm.weight", "blk.0.attn_sinks.weight",
        "blk.0.attn_norm.bias", "blk.0.post_attention_norm.weight", "blk.2.attn_norm.weight",
        "token_embd_norm.weight", "rope_factors_long.weight", "a"}) {
    EXPECT_ERROR(std::string("tensor '") + name + "': the architecture llama has no such tensor",
                 OpenGguf([&](GgufModel& model) { model.AddTensor(name, {1.5f}); }));
  }
  EXPECT_ERROR("output.bias",
               OpenGguf([](GgufModel& model) { model.AddTensor("output.bias", {1.5f}); }));
  // BLOOM does not rotate.
  EXPECT_ERROR("rope_freqs.weight",
               OpenGguf([](GgufModel& model) { model.AddTensor("rope_freqs.weight", {1.5f}); },
                        "tiny-bloom-gguf"));
}

TEST(GgufConfig, TakesNoTwoScalingsOfRope) {
  EXPECT_ERROR("rope_freqs.weight", OpenGguf([](GgufModel& model) {
                 model.AddTensor("rope_freqs.weight", std::vector<float>(16, 1));
                 model.metadata["llama.rope.scale_linear"] = 4.0;
               }));
}

}  // namespace
}  // namespace fptq
