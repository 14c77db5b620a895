#include <gtest/gtest.h>

#include "base/test_util.h"
#include "model/arch/arch.h"
#include "model/arch/unsupported_fields.h"

namespace fptq {
namespace {

// A config.json of this architecture with as little in it as transformers needs.
ModelConfig Read(const std::string& arch, const Json& more = Json::object()) {
  Json json = {{"hidden_size", 64},      {"num_hidden_layers", 3}, {"num_attention_heads", 4},
               {"intermediate_size", 8}, {"vocab_size", 100},      {"ffn_dim", 8}};
  json.update(more);
  return FindArch(arch, "").config_from_hf(JsonFields(json, "config.json"));
}

using Windows = std::vector<int64_t>;

// The defaults of the configuration classes of transformers 5.24.
TEST(HfConfig, TakesTheDefaultsOfItsArchitecture) {
  EXPECT_EQ(Read("llama").kv_heads, 4);
  EXPECT_EQ(Read("llama").max_positions, 2048);
  EXPECT_EQ(Read("mistral").kv_heads, 8);
  EXPECT_EQ(Read("mistral", {{"num_key_value_heads", nullptr}}).kv_heads, 4);
  EXPECT_EQ(Read("mistral").max_positions, 131072);
  EXPECT_EQ(Read("qwen2").kv_heads, 32);
  EXPECT_EQ(Read("qwen2").head_dim, 16);
  EXPECT_EQ(Read("qwen3").head_dim, 128);
  EXPECT_EQ(Read("qwen3").max_positions, 32768);
}

TEST(HfConfig, ReadsWindowsAsTransformersDoes) {
  const auto windows = [](const char* arch, const Json& more) { return Read(arch, more).windows; };
  const Json full = Json::array({"full_attention", "full_attention", "full_attention"});
  const Json mixed = Json::array({"full_attention", "sliding_attention", "full_attention"});
  EXPECT_EQ(windows("mistral", Json::object()), Windows(3, 4096));
  EXPECT_EQ(windows("mistral", {{"sliding_window", 9}}), Windows(3, 9));
  EXPECT_EQ(windows("mistral", {{"sliding_window", nullptr}}), Windows());
  EXPECT_ERROR("layer_types", windows("mistral", {{"layer_types", mixed}}));
  EXPECT_ERROR("layer_types", windows("mistral", {{"layer_types", full}}));
  for (const char* arch : {"qwen2", "qwen3"}) {
    EXPECT_EQ(windows(arch, {{"sliding_window", 9}}), Windows());
    EXPECT_EQ(windows(arch, {{"use_sliding_window", true}, {"max_window_layers", 1}}),
              Windows({0, 4096, 4096}));
    EXPECT_EQ(windows(arch, {{"use_sliding_window", true}, {"sliding_window", nullptr}}),
              Windows());
    EXPECT_EQ(windows(arch, {{"use_sliding_window", true},
                             {"sliding_window", 9},
                             {"max_window_layers", 0},
                             {"layer_types", mixed}}),
              Windows({0, 9, 0}));
    EXPECT_ERROR("layer_types", windows(arch, {{"sliding_window", 9}, {"layer_types", mixed}}));
  }
  for (const char* arch : {"llama", "gpt_neox", "opt", "bloom"}) {
    EXPECT_ERROR("sliding_window", windows(arch, {{"sliding_window", 9}}));
    EXPECT_ERROR("layer_types", windows(arch, {{"layer_types", mixed}}));
  }
  EXPECT_EQ(windows("llama", {{"sliding_window", nullptr}, {"layer_types", full}}), Windows());
}

TEST(HfConfig, ReadsRopeFromWhereTransformersReadsIt) {
  const Json five = {{"rope_type", "default"}, {"rope_theta", 500000.0}};
  const Json linear = {{"rope_type", "linear"}, {"factor", 4.0}};
  EXPECT_EQ(Read("llama", {{"rope_theta", 20000.0}}).rope_theta, 20000);
  EXPECT_EQ(Read("llama", {{"rope_theta", 20000.0}, {"rope_parameters", five}}).rope_theta, 500000);
  EXPECT_EQ(Read("llama", {{"rope_theta", 20000.0}, {"rope_scaling", five}}).rope_theta, 500000);
  // rope_scaling hides rope_parameters.
  const ModelConfig both = Read("llama", {{"rope_scaling", linear}, {"rope_parameters", five}});
  EXPECT_EQ(both.rope_scaling.factor, 4);
  EXPECT_EQ(both.rope_theta, 10000);
  EXPECT_EQ(Read("llama", {{"rope_scaling", Json::object()}, {"rope_parameters", five}}).rope_theta,
            500000);
  EXPECT_EQ(Read("llama", {{"rope_scaling", nullptr}, {"rope_parameters", five}}).rope_theta,
            500000);
  EXPECT_EQ(Read("gpt_neox", {{"rope_theta", 20000.0}}).rope_theta, 10000);
  EXPECT_EQ(Read("gpt_neox", {{"rotary_emb_base", 20000.0}}).rope_theta, 20000);
  EXPECT_EQ(Read("gpt_neox", {{"rotary_emb_base", 20000.0}, {"rope_parameters", five}}).rope_theta,
            500000);
  EXPECT_EQ(Read("gpt_neox", {{"rotary_pct", 0.5}}).rotary, 8);
  EXPECT_EQ(Read("gpt_neox", {{"partial_rotary_factor", 0.5}}).rotary, 4);
  EXPECT_EQ(Read("gpt_neox", {{"rope_parameters", {{"partial_rotary_factor", 0.5}}}}).rotary, 8);
  EXPECT_ERROR("partial_rotary_factor", Read("llama", {{"partial_rotary_factor", 0.5}}));
  Json llama3 = {{"rope_type", "llama3"},
                 {"factor", 8.0},
                 {"low_freq_factor", 1.0},
                 {"high_freq_factor", 4.0}};
  EXPECT_EQ(Read("llama", {{"rope_scaling", llama3}}).rope_scaling.original_positions, 2048);
  llama3["original_max_position_embeddings"] = 8192;
  EXPECT_EQ(Read("llama", {{"rope_scaling", llama3}}).rope_scaling.original_positions, 8192);
  EXPECT_EQ(Read("llama", {{"rope_scaling", llama3}, {"original_max_position_embeddings", 4096}})
                .rope_scaling.original_positions,
            4096);
}

TEST(HfConfig, RefusesByNameWhatChangesTheResult) {
  const auto reject = [](const char* field, const Json& value) {
    RejectUnsupportedHfFields({{field, value}}, Read("llama"), "config.json");
  };
  const std::pair<const char*, Json> changing[] = {
      {"is_causal", false},
      {"attention_chunk_size", 8192},
      {"attn_logit_softcapping", 50},
      {"final_logit_softcapping", 30.0},
      {"clip_qkv", 8.0},
      {"embedding_multiplier", 12.0},
      {"residual_multiplier", 0.22},
      {"logits_scaling", 8.0},
      {"logit_scale", 0.0625},
      {"attention_multiplier", 0.0078125},
      {"query_pre_attn_scalar", 256},
      {"use_qk_norm", true},
      {"qk_layernorm", true},
      {"num_local_experts", 8},
      {"num_experts", 64},
      {"no_rope_layers", Json::array({1, 1, 0})},
      {"scale_emb", 12},
      {"per_layer_config", {{"1", {{"head_dim", 8}}}}},
  };
  for (const auto& [field, value] : changing) {
    EXPECT_ERROR(std::string("config.json: ") + field + ": ", reject(field, value));
    EXPECT_EQ(ErrorOf([&] { reject(field, nullptr); }), "");
  }
  const std::pair<const char*, Json> neutral[] = {
      {"is_causal", true},
      {"logits_scaling", 1.0},
      {"residual_multiplier", 1},
      {"attention_multiplier", 0.25},
      {"query_pre_attn_scalar", 16},
      {"use_qk_norm", false},
      {"num_local_experts", 0},
      {"no_rope_layers", Json::array()},
      {"pretraining_tp", 2},
      {"attention_dropout", 0.5},
      {"novel_field", 7},
  };
  for (const auto& [field, value] : neutral) {
    EXPECT_EQ(ErrorOf([&] { reject(field, value); }), "") << field;
  }
}

}  // namespace
}  // namespace fptq
