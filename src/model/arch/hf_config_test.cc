#include <gtest/gtest.h>

#include "base/test_util.h"
#include "model/arch/arch.h"
#include "model/arch/unsupported_fields.h"
#include "model/positions.h"

namespace fptq {
namespace {

// A config.json of this architecture with as little in it as transformers needs.
ModelConfig Read(const std::string& arch, const Json& more = Json::object()) {
  Json json = {{"model_type", arch},
               {"hidden_size", 64},
               {"num_hidden_layers", 3},
               {"num_attention_heads", 4},
               {"intermediate_size", 8},
               {"vocab_size", 100},
               {"ffn_dim", 8}};
  json.update(more);
  return ReadHfConfig(JsonFields(json, "config.json"));
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
  EXPECT_EQ(Read("llama", {{"rope_theta", 20000.0}}).rope.theta, 20000);
  EXPECT_EQ(Read("llama", {{"rope_theta", 20000.0}, {"rope_parameters", five}}).rope.theta, 500000);
  EXPECT_EQ(Read("llama", {{"rope_theta", 20000.0}, {"rope_scaling", five}}).rope.theta, 500000);
  // rope_scaling hides rope_parameters.
  const ModelConfig both = Read("llama", {{"rope_scaling", linear}, {"rope_parameters", five}});
  EXPECT_EQ(both.rope.scaling.factor, 4);
  EXPECT_EQ(both.rope.theta, 10000);
  EXPECT_EQ(Read("llama", {{"rope_scaling", Json::object()}, {"rope_parameters", five}}).rope.theta,
            500000);
  EXPECT_EQ(Read("llama", {{"rope_scaling", nullptr}, {"rope_parameters", five}}).rope.theta,
            500000);
  EXPECT_EQ(Read("gpt_neox", {{"rope_theta", 20000.0}}).rope.theta, 10000);
  EXPECT_EQ(Read("gpt_neox", {{"rotary_emb_base", 20000.0}}).rope.theta, 20000);
  EXPECT_EQ(Read("gpt_neox", {{"rotary_emb_base", 20000.0}, {"rope_parameters", five}}).rope.theta,
            500000);
  EXPECT_EQ(Read("gpt_neox", {{"rotary_pct", 0.5}}).rotary, 8);
  EXPECT_EQ(Read("gpt_neox", {{"partial_rotary_factor", 0.5}}).rotary, 4);
  EXPECT_EQ(Read("gpt_neox", {{"rope_parameters", {{"partial_rotary_factor", 0.5}}}}).rotary, 8);
  EXPECT_ERROR("partial_rotary_factor", Read("llama", {{"partial_rotary_factor", 0.5}}));
  Json llama3 = {{"rope_type", "llama3"},
                 {"factor", 8.0},
                 {"low_freq_factor", 1.0},
                 {"high_freq_factor", 4.0}};
  EXPECT_EQ(Read("llama", {{"rope_scaling", llama3}}).rope.scaling.original_positions, 2048);
  llama3["original_max_position_embeddings"] = 8192;
  EXPECT_EQ(Read("llama", {{"rope_scaling", llama3}}).rope.scaling.original_positions, 8192);
  EXPECT_EQ(Read("llama", {{"rope_scaling", llama3}, {"original_max_position_embeddings", 4096}})
                .rope.scaling.original_positions,
            4096);
}

TEST(HfConfig, ReadsYarnAndLongRope) {
  const Json yarn = {{"rope_type", "yarn"},
                     {"factor", 4.0},
                     {"mscale", 2.0},
                     {"mscale_all_dim", 1.0},
                     {"original_max_position_embeddings", 64}};
  const RopeScaling found = Read("llama", {{"rope_scaling", yarn}}).rope.scaling;
  EXPECT_EQ(found.kind, RopeScaling::Kind::kYarn);
  EXPECT_EQ(found.original_positions, 64);
  EXPECT_DOUBLE_EQ(found.attention_factor, YarnAttentionFactor(4, 2) / YarnAttentionFactor(4));
  EXPECT_ERROR(
      "beta_slow",
      Validate(Read("llama", {{"rope_scaling",
                               {{"rope_type", "yarn"}, {"factor", 4.0}, {"beta_slow", 40}}}}),
               "config.json"));

  // The factors of the long context where the model is made for it.
  const Json factors = {{"type", "longrope"},
                        {"short_factor", {1, 1, 1, 1, 1, 1, 1, 1}},
                        {"long_factor", {2, 2, 2, 2, 2, 2, 2, 2}}};
  const auto longrope = [&](int64_t original) {
    return Read("phi3", {{"rope_scaling", factors},
                         {"max_position_embeddings", 4096},
                         {"original_max_position_embeddings", original}});
  };
  EXPECT_EQ(longrope(4096).rope.scaling.factors, std::vector<double>(8, 1));
  EXPECT_EQ(longrope(4096).rope.scaling.attention_factor, 1);
  EXPECT_EQ(longrope(1024).rope.scaling.factors, std::vector<double>(8, 2));
  EXPECT_EQ(longrope(1024).rope.scaling.attention_factor, LongRopeAttentionFactor(4, 1024));
  Json few = factors;
  few["short_factor"] = {1, 1};
  EXPECT_ERROR("factors of rope scaling: expected 8, found 2",
               Validate(Read("phi3", {{"rope_scaling", few}}), "config.json"));
}

// As their configurations in transformers fill what is absent.
TEST(HfConfig, GemmasLayersDiffer) {
  const ModelConfig gemma2 = Read("gemma2"), gemma3 = Read("gemma3_text");
  EXPECT_EQ(gemma2.windows, (Windows{4096, 0, 4096}));
  EXPECT_EQ(gemma2.attention_softcap, 50);
  EXPECT_EQ(gemma2.logit_softcap, 30);
  EXPECT_EQ(gemma2.embedding_scale, 8);
  EXPECT_EQ(gemma2.softmax_scale(), 0.0625f);
  EXPECT_EQ(gemma3.windows, (Windows{4096, 4096, 4096}));
  EXPECT_EQ(gemma3.logit_softcap, 0);
  EXPECT_EQ(gemma3.rope_of(0)->theta, 10000);
  EXPECT_EQ(gemma3.rope.theta, 1e6);
  const Json nested = {{"full_attention", {{"rope_theta", 5e5}, {"rope_type", "default"}}},
                       {"sliding_attention", {{"rope_theta", 2e4}, {"rope_type", "default"}}}};
  const ModelConfig both =
      Read("gemma3_text", {{"rope_parameters", nested}, {"sliding_window_pattern", 3}});
  EXPECT_EQ(both.windows, (Windows{4096, 4096, 0}));
  EXPECT_EQ(both.rope_of(1)->theta, 2e4);
  EXPECT_EQ(both.rope_of(2)->theta, 5e5);
}

TEST(HfConfig, SmolLm3DoesNotRotateEveryFourthLayer) {
  EXPECT_EQ(Read("smollm3").rotated, (std::vector<bool>{true, true, true}));
  const ModelConfig every = Read("smollm3", {{"no_rope_layer_interval", 2}});
  EXPECT_NE(every.rope_of(0), nullptr);
  EXPECT_EQ(every.rope_of(1), nullptr);
  EXPECT_ERROR("no_rope_layers", Read("smollm3", {{"no_rope_layers", {1, 2, 0}}}));
  EXPECT_ERROR("layers that rotate",
               Validate(Read("smollm3", {{"no_rope_layers", {1}}}), "config.json"));
}

TEST(HfConfig, ReadsWhichLayersHaveExperts) {
  using Layers = std::vector<bool>;
  const Mixture mixtral = Read("mixtral").mixture;
  EXPECT_EQ(mixtral.experts, 8);
  EXPECT_EQ(mixtral.active, 2);
  EXPECT_EQ(mixtral.width, 8);
  EXPECT_TRUE(mixtral.normalized);
  const Mixture qwen2 = Read("qwen2_moe").mixture;
  EXPECT_EQ(qwen2.experts, 60);
  EXPECT_EQ(qwen2.active, 4);
  EXPECT_EQ(qwen2.width, 1408);
  EXPECT_EQ(qwen2.shared_width, 5632);
  EXPECT_FALSE(qwen2.normalized);
  EXPECT_EQ(qwen2.layers, Layers());
  EXPECT_EQ(Read("qwen3_moe").mixture.experts, 128);
  EXPECT_EQ(Read("qwen3_moe", {{"num_local_experts", 16}}).mixture.experts, 16);
  EXPECT_TRUE(Read("qwen3_moe", {{"norm_topk_prob", true}}).mixture.normalized);
  for (const char* arch : {"qwen2_moe", "qwen3_moe"}) {
    const auto layers = [&](const Json& more) { return Read(arch, more).mixture.layers; };
    EXPECT_EQ(layers({{"decoder_sparse_step", 2}}), Layers({false, true, false}));
    EXPECT_EQ(layers({{"mlp_only_layers", {0, 2}}}), Layers({false, true, false}));
    EXPECT_EQ(layers({{"mlp_only_layers", nullptr}}), Layers());
    EXPECT_ERROR("mlp_only_layers: expected numbers of layers, 0 to 2, found 3",
                 layers({{"mlp_only_layers", {3}}}));
    EXPECT_ERROR("mlp_only_layers: expected numbers of layers",
                 layers({{"mlp_only_layers", {"0"}}}));
    EXPECT_ERROR("expected a layer with experts", layers({{"decoder_sparse_step", 4}}));
    EXPECT_ERROR("decoder_sparse_step", layers({{"decoder_sparse_step", 0}}));
    EXPECT_ERROR("use_sliding_window", layers({{"use_sliding_window", true}}));
  }
  const auto validate = [](const char* arch, const Json& more) {
    Validate(Read(arch, more), "config.json");
  };
  EXPECT_ERROR("number of experts: expected 1 to 1024, found 1025",
               validate("qwen3_moe", {{"num_experts", 1025}}));
  EXPECT_ERROR("experts of a token: expected 1 to 4, found 8",
               validate("qwen3_moe", {{"num_experts", 4}}));
  EXPECT_ERROR("MLP width of an expert: expected 1 to",
               validate("qwen3_moe", {{"moe_intermediate_size", 1 << 30}}));
  EXPECT_ERROR("MLP width of the shared expert: expected 1 to",
               validate("qwen2_moe", {{"num_key_value_heads", 4},
                                      {"shared_expert_intermediate_size", 1 << 30}}));
  EXPECT_ERROR("num_experts", validate("qwen2_moe", {{"num_experts", 0}}));
  EXPECT_ERROR("num_local_experts", validate("mixtral", {{"num_local_experts", -1}}));
}

TEST(HfConfig, FalconHasTheNormsAndHeadsOfItsKind) {
  const Json grouped = {{"new_decoder_architecture", true}, {"num_kv_heads", 2}};
  const auto norms = [](const ModelConfig& config) { return config.arch->norms.size(); };
  const ModelConfig shared = Read("falcon");
  EXPECT_TRUE(shared.parallel_residual && shared.shared_norm);
  EXPECT_EQ(norms(shared), 1u);
  EXPECT_EQ(shared.kv_heads, 1);
  EXPECT_EQ(shared.mlp, 256);
  EXPECT_EQ(Read("falcon", {{"num_kv_heads", 4}}).kv_heads, 1);  // multi_query goes before it
  const ModelConfig two = Read("falcon", grouped);
  EXPECT_TRUE(two.parallel_residual && !two.shared_norm);
  EXPECT_EQ(norms(two), 2u);
  EXPECT_EQ(two.kv_heads, 2);
  Json one = grouped;
  one["num_ln_in_parallel_attn"] = 1;
  EXPECT_TRUE(Read("falcon", one).shared_norm);
  const ModelConfig sequential =
      Read("falcon", {{"parallel_attn", false}, {"multi_query", false}, {"alibi", true}});
  EXPECT_FALSE(sequential.parallel_residual || sequential.shared_norm);
  EXPECT_EQ(norms(sequential), 2u);
  EXPECT_EQ(sequential.kv_heads, 4);
  EXPECT_EQ(sequential.rotary, 0);
  EXPECT_EQ(sequential.alibi_scale, 0.25);
  one["parallel_attn"] = false;
  EXPECT_ERROR("config.json: parallel_attn: expected true", Read("falcon", one));
  EXPECT_ERROR("config.json: num_ln_in_parallel_attn: expected 1",
               Read("falcon", {{"num_ln_in_parallel_attn", 2}}));
  EXPECT_ERROR("num_ln_in_parallel_attn", Read("falcon", {{"num_ln_in_parallel_attn", 3}}));
  EXPECT_ERROR("config.json: num_kv_heads: expected the 4 attention heads",
               Read("falcon", {{"multi_query", false}, {"num_kv_heads", 2}}));
  EXPECT_ERROR("apply_residual_connection_post_layernorm",
               Read("falcon", {{"apply_residual_connection_post_layernorm", true}}));
}

TEST(HfConfig, Gpt2RefusesOtherScoresAndInputs) {
  EXPECT_EQ(Read("gpt2").mlp, 256);
  EXPECT_EQ(Read("gpt2", {{"n_inner", 8}, {"n_embd", 32}}).hidden, 32);
  EXPECT_EQ(Read("gpt2").softmax_scale(), 0.25f);
  EXPECT_EQ(Read("gpt2", {{"scale_attn_weights", false}}).softmax_scale(), 1);
  EXPECT_EQ(Read("gpt2", {{"reorder_and_upcast_attn", true}}).softmax_scale(), 0.25f);
  for (const char* field : {"scale_attn_by_inverse_layer_idx", "add_cross_attention"}) {
    EXPECT_ERROR(std::string("config.json: ") + field, Read("gpt2", {{field, true}}));
  }
}

TEST(HfConfig, SizesOfFalconAndGpt2AreBounded) {
  const auto validate = [](const char* arch, const Json& more) {
    Validate(Read(arch, more), "config.json");
  };
  constexpr int64_t kHuge = int64_t{1} << 40;
  validate("falcon", Json::object());
  validate("gpt2", Json::object());
  for (const char* field : {"hidden_size", "num_hidden_layers", "num_attention_heads",
                            "ffn_hidden_size", "vocab_size", "max_position_embeddings"}) {
    EXPECT_ERROR("config.json: ", validate("falcon", {{field, kHuge}}));
    EXPECT_ERROR(field, validate("falcon", {{field, -1}}));
  }
  EXPECT_ERROR("key-value heads",
               validate("falcon", {{"new_decoder_architecture", true}, {"num_kv_heads", kHuge}}));
  for (const char* field :
       {"n_embd", "n_layer", "n_head", "n_inner", "vocab_size", "n_positions"}) {
    EXPECT_ERROR("config.json: ", validate("gpt2", {{field, kHuge}}));
    EXPECT_ERROR(field, validate("gpt2", {{field, -1}}));
  }
}

// [KV head][its query heads, k, v][head_dim]
TEST(QkvGroups, RowsOfAKvHeadAreItsQueriesThenKeyThenValue) {
  using Rows = std::vector<int64_t>;
  const auto rows = [](const QkvGroups& groups, int64_t channels) {
    Rows found;
    for (int64_t i = 0; i < channels; ++i) found.push_back(groups.Row(channels, i));
    return found;
  };
  EXPECT_EQ(rows({}, 4), (Rows{0, 1, 2, 3}));
  // As many KV heads as query heads: two of them with two dims.
  EXPECT_EQ(rows({.queries = 1, .head_dim = 2}, 12), (Rows{0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11}));
  // Three query heads share each of two KV heads.
  EXPECT_EQ(rows({.queries = 3, .head_dim = 1}, 10), (Rows{0, 1, 2, 5, 6, 7, 3, 8, 4, 9}));
  // All share one: the rows are in our order.
  EXPECT_EQ(rows({.queries = 2, .head_dim = 2}, 8), (Rows{0, 1, 2, 3, 4, 5, 6, 7}));
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
