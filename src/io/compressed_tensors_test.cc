#include "io/compressed_tensors.h"

#include <gtest/gtest.h>

#include "base/test_util.h"

namespace fptq {
namespace {

constexpr std::string_view kWhere = "DIR/config.json";

Json Group(std::vector<std::string> targets) {
  return {{"targets", targets},
          {"weights",
           {{"num_bits", 4},
            {"type", "int"},
            {"symmetric", true},
            {"strategy", "group"},
            {"group_size", 128},
            {"dynamic", false}}},
          {"input_activations",
           {{"num_bits", 8},
            {"type", "int"},
            {"symmetric", true},
            {"strategy", "token"},
            {"dynamic", true}}},
          {"output_activations", nullptr},
          {"format", "pack-quantized"}};
}

Json ConfigOf(Json group, std::vector<std::string> ignore = {"lm_head"}) {
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups", {{"group_0", group}}},
          {"ignore", ignore}};
}

QuantizationConfig Parse(const Json& json) { return QuantizationConfig::Parse(json, kWhere); }

TEST(PackIntegers, LowestFirstWithOffset) {
  const std::vector<int8_t> q4 = {-8, -7, 0, 1, 2, 3, 6, 7};
  std::vector<int32_t> packed(1);
  PackIntegers(4, q4, packed);
  EXPECT_EQ(static_cast<uint32_t>(packed[0]), 0xfeba9810u);
  const std::vector<int8_t> q8 = {-128, -127, 0, 127};
  PackIntegers(8, q8, packed);
  EXPECT_EQ(static_cast<uint32_t>(packed[0]), 0xff800100u);
}

TEST(PackIntegers, RoundTripsEveryValueAtEveryPlace) {
  for (const int bits : {4, 8}) {
    const int values = 1 << bits, fields = 32 / bits;
    std::vector<int8_t> q;
    for (int i = 0; i < values * fields; ++i) {
      q.push_back(static_cast<int8_t>((i + i / fields) % values - values / 2));
    }
    std::vector<int32_t> packed(q.size() / static_cast<size_t>(fields));
    PackIntegers(bits, q, packed);
    std::vector<int8_t> back(q.size());
    UnpackIntegers(bits, packed, back);
    EXPECT_EQ(back, q);
  }
}

TEST(QuantizationConfig, ReadsWhatItWrites) {
  const std::vector<std::pair<std::string, LinearQuantization>> linears = {
      {"a.q_proj", {128, ActivationQuantization::kStaticTensor}},
      {"a.o_proj", {64, ActivationQuantization::kDynamicToken}},
      {"a.k_proj", {128, ActivationQuantization::kStaticTensor}},
      {"a.down_proj", {64, ActivationQuantization::kNone}},
      {"a.up_proj", {64, ActivationQuantization::kNone, /*weight_bits=*/8}},
  };
  const std::vector<std::string> ignore = {"lm_head"};
  const Json json = CompressedTensorsJson(linears, ignore);
  EXPECT_EQ(json["config_groups"].size(), 4u);  // q and k share one
  for (const Json& group : json["config_groups"]) EXPECT_EQ(group["format"], "pack-quantized");
  const QuantizationConfig config = Parse(json);
  for (const auto& [name, quantization] : linears) EXPECT_EQ(config.Find(name), quantization);
  EXPECT_EQ(config.Find("lm_head"), std::nullopt);
  EXPECT_EQ(config.Find("a.v_proj"), std::nullopt);
}

// As in compressed-tensors: exact name, then pattern, then class; `ignore` before all of them.
TEST(QuantizationConfig, MostSpecificTargetWins) {
  Json json = ConfigOf(Group({"Linear"}), {"lm_head", "re:.*\\.skipped$"});
  const auto add = [&](const char* name, const char* target, int64_t group_size) {
    Json group = Group({target});
    group["weights"]["group_size"] = group_size;
    json["config_groups"][name] = group;
  };
  add("group_1", "re:.*down_proj", 64);
  add("group_2", "layers.1.down_proj", 32);
  const QuantizationConfig config = Parse(json);
  EXPECT_EQ(config.Find("layers.0.q_proj")->group_size, 128);
  EXPECT_EQ(config.Find("layers.0.down_proj")->group_size, 64);
  EXPECT_EQ(config.Find("layers.0.down_proj_2")->group_size, 64);  // re.match leaves the end open
  EXPECT_EQ(config.Find("layers.1.down_proj")->group_size, 32);
  EXPECT_EQ(config.Find("layers.1.skipped"), std::nullopt);
  EXPECT_EQ(config.Find("lm_head"), std::nullopt);
}

TEST(QuantizationConfig, PatternsMatchFromTheBeginning) {
  const QuantizationConfig config = Parse(ConfigOf(Group({"re:down"})));
  EXPECT_EQ(config.Find("layers.0.down_proj"), std::nullopt);
  EXPECT_NE(config.Find("down_proj"), std::nullopt);
}

TEST(QuantizationConfig, AbsentActivationsStayFloat) {
  Json group = Group({"Linear"});
  group["input_activations"] = nullptr;
  EXPECT_EQ(Parse(ConfigOf(group)).Find("x")->activations, ActivationQuantization::kNone);
}

TEST(QuantizationConfig, OtherPeoplesForms) {
  Json json = ConfigOf(Group({"Linear"}));
  json["config_groups"]["group_0"].erase("format");
  Json& weights = json["config_groups"]["group_0"]["weights"];
  weights = {
      {"num_bits", 8}, {"strategy", "channel"}, {"symmetric", true}, {"group_size", nullptr}};
  json["format"] = "int-quantized";
  LinearQuantization how = Parse(json).Find("x").value();
  EXPECT_EQ(
      how, (LinearQuantization{LinearQuantization::kWholeRow, ActivationQuantization::kDynamicToken,
                               8, true, WeightStorage::kInt8}));
  weights = {{"num_bits", 8}, {"strategy", "tensor"}};
  json["format"] = "naive-quantized";
  EXPECT_TRUE(Parse(json).Find("x")->per_tensor);
  weights = {{"num_bits", 4}, {"symmetric", false}, {"group_size", 64}};
  json["format"] = "mixed-precision";
  json["config_groups"]["group_0"]["format"] = "pack-quantized";
  how = Parse(json).Find("x").value();
  EXPECT_EQ(how, (LinearQuantization{64, ActivationQuantization::kDynamicToken, 4, false}));
  weights = {{"num_bits", 4}, {"group_size", -1}};
  EXPECT_EQ(Parse(json).Find("x")->group_size, LinearQuantization::kWholeRow);
}

// What says nothing, or nothing that changes the result.
TEST(QuantizationConfig, TakesWhatOthersWriteBeside) {
  Json json = ConfigOf(Group({"Linear"}));
  json["sparsity_config"] = {{"format", "dense"},
                             {"global_sparsity", 0.153},
                             {"sparsity_structure", "unstructured"},
                             {"targets", {"model.layers.0.self_attn.q_proj"}},
                             {"ignore", {"lm_head"}}};
  json["transform_config"] = Json::object();
  json["kv_cache_scheme"] = nullptr;
  json["version"] = "0.12.2";
  EXPECT_FALSE(Parse(json).Find("x")->frozen);
  json["sparsity_config"] = Json::object();
  json["quantization_status"] = "frozen";
  EXPECT_TRUE(Parse(json).Find("x")->frozen);
}

// A target of two groups is the last one's; patterns go by their text, not by their place.
TEST(QuantizationConfig, TheLastGroupAndTheFirstPatternCount) {
  Json json = ConfigOf(Group({"re:b.*", "re:a|b", "x"}));
  json["config_groups"]["group_1"] = Group({"re:a|b", "x"});
  json["config_groups"]["group_1"]["weights"]["group_size"] = 32;
  const QuantizationConfig config = Parse(json);
  EXPECT_EQ(config.Find("x")->group_size, 32);
  EXPECT_EQ(config.Find("bc")->group_size, 32);
  EXPECT_FALSE(config.Find("c"));
}

TEST(QuantizationConfig, APatternThatBacktracksIsAnError) {
  const std::string name = "model.layers.0.self_attn.q_proj";
  for (const char* pattern : {"re:(.*)*[^a-z.0_]", "re:(\\w|[a-z_]|\\.)+\\d$"}) {
    EXPECT_ERROR("quantization_config.ignore: regular expression",
                 Parse(ConfigOf(Group({"Linear"}), {pattern})).Find(name));
    EXPECT_ERROR("group_0: regular expression", Parse(ConfigOf(Group({pattern}))).Find(name));
  }
}

TEST(QuantizationConfig, NamesWhatItCannotRun) {
  const auto expect_error = [](const char* pointer, const Json& value, const char* part) {
    Json json = ConfigOf(Group({"Linear"}));
    json[Json::json_pointer(pointer)] = value;
    EXPECT_ERROR(part, Parse(json));
  };
  const std::string group = "/config_groups/group_0";
  const auto expect_group_error = [&](const char* field, const Json& value, const char* part) {
    expect_error((group + field).c_str(), value, part);
  };
  expect_error(
      "/quant_method", "gptq",
      "quant_method: 'gptq' is not supported; supported: compressed-tensors pack-quantized");
  expect_error("/format", "float-quantized", "format: 'float-quantized' is not supported");
  expect_error("/format", "marlin-24", "supported: compressed-tensors pack-quantized");
  expect_error("/quant_method", "fp8", "quant_method: 'fp8' is not supported");
  expect_error("/quant_method", nullptr, "quant_method: '(none)' is not supported");
  expect_error("/quantization_status", "calibration",
               "quantization_status: expected \"compressed\" or \"frozen\"");
  expect_error("/sparsity_config", {{"format", "sparse-24-bitmask"}},
               "sparsity_config: format: expected \"dense\", found \"sparse-24-bitmask\"");
  expect_error("/sparsity_config", {{"targets", Json::array()}}, "found \"(none)\"");
  expect_error("/transform_config", {{"config_groups", Json::object()}}, "transform_config");
  expect_error("/kv_cache_scheme", {{"num_bits", 8}}, "kv_cache_scheme");
  expect_error("/config_groups", Json::array(), "'config_groups': expected an object");
  expect_error("/ignore", {1}, "ignore: expected strings");
  expect_group_error("/format", "marlin-24", "group_0: format");
  expect_group_error("/targets", {"Embedding"}, "targets");
  expect_group_error("/targets", {"re:("}, "regular expression");
  expect_group_error("/targets", {"re:" + std::string(20000, 'a')}, "at most 16384 bytes");
  std::vector<std::string> patterns;
  for (int i = 0; i <= 1000; ++i) patterns.push_back(fmt::format("re:{}", i));
  expect_group_error("/targets", patterns, "expected at most 1000 regular expressions");
  expect_error("/ignore", patterns, "expected at most 1000 regular expressions");
  expect_group_error("/targets", "Linear", "'targets': expected an array");
  expect_group_error("/output_activations", Json::object(), "output_activations");
  expect_group_error("/weights", nullptr, "'weights' is missing");
  expect_group_error("/weights/num_bits", 3, "num_bits: expected 4 or 8, found 3");
  expect_group_error("/weights/type", "float", "type: expected \"int\"");
  expect_group_error("/weights/strategy", "block", "found \"block\" with 128");
  expect_group_error("/weights/group_size", -1, "strategy: expected \"group\" with a group_size");
  expect_group_error("/weights/group_size", -2, "'group_size'");
  expect_group_error("/weights/group_size", 48, "group_size: expected a multiple of 32");
  expect_group_error("/input_activations/symmetric", false, "symmetric: expected true");
  expect_group_error("/weights/actorder", "odd", "actorder");
  Json asymmetric = ConfigOf(Group({"Linear"}));
  asymmetric["config_groups"]["group_0"]["weights"].update({{"num_bits", 8}, {"symmetric", false}});
  EXPECT_ERROR("expected true for 8-bit weights and activations", Parse(asymmetric));
  Json mixed = ConfigOf(Group({"Linear"}));
  mixed["format"] = "mixed-precision";
  mixed["config_groups"]["group_0"].erase("format");
  EXPECT_ERROR("format: expected one for this group, found none", Parse(mixed));
  expect_group_error("/input_activations/num_bits", 4, "num_bits: expected 8");
  expect_group_error("/input_activations/strategy", "tensor", "found \"tensor\" and dynamic");
  expect_group_error("/input_activations/dynamic", "local", "'dynamic'");
}

}  // namespace
}  // namespace fptq
