#include "quant/run/layer_record.h"

#include <functional>

#include "base/json.h"
#include "base/test_paths.h"
#include "base/test_util.h"
#include "model/source.h"

namespace fptq {
namespace {

class LayerRecordTest : public testing::Test {
 protected:
  LayerRecordTest() {
    const int64_t layer = 1;
    LayerResult result;
    for (const ActSite site : kAllActSites) {
      SitePolicy& policy = result.policy.emplace_back();
      const auto k = static_cast<size_t>(SiteInputs(config_, site));
      policy = {.layer = layer,
                .site = site,
                .range = 1.0 / 3,
                .channel_absmax = std::vector<float>(k, 0.1f),
                .weight_exponent = 0.5,
                .choice = {Equalization::kLae, ActScheme::kStatic},
                .equalized_range = 1e-300,
                .channel_scales = std::vector<float>(k, 3.4e38f),
                .scale = 1e-45f,
                .group_size = 32,
                .symmetric = false,
                .reason = "v <= v0",
                .notes = {"a note"},
                .alternatives = {{{Equalization::kNone, ActScheme::kDynamic}, 0.7}}};
    }
    result.policy[1].channel_scales.clear();
    result.linears = {
        {.name = "model.layers.1.mlp.down_proj", .bits = 8, .group_size = 32, .weight_error = 0.3}};
    result.linear_weights = 1000;
    result.linear_bytes = 600;
    const std::vector<TensorSpool::Entry> tensors = {
        {.tensor = {"model.layers.1.a", DataType::kI32, {4, 8}}, .checksum = 0xffffffff},
        {.tensor = {"model.layers.1.b", DataType::kBF16, {3}}, .checksum = 7}};
    record_ = LayerRecordToJson(result, tensors, 12345);
  }

  LayerRecord Read(const Json& json) const { return LayerRecordFromJson(json, config_, 1); }

  ModelConfig config_ =
      ModelSource::Open(std::filesystem::path(kTestdata) / "models/tiny-llama-f16").config();
  Json record_;
};

Json WriteAgain(const LayerRecord& record) {
  return LayerRecordToJson(record.result, record.tensors, record.hidden_checksum);
}

TEST_F(LayerRecordTest, ComesBackBitForBit) {
  const Json read = ParseJson(DumpJson(record_), "test");
  EXPECT_EQ(WriteAgain(Read(read)), record_);
}

// Calls body() with each value in `json`, at whatever depth, in turn set to something else, or
// gone.
void ForEachChange(Json& json, const std::function<void()>& body) {
  const Json kept = json;
  for (const char* text : {"null", "true", "-1", "0", "0.5", "1e300", "18446744073709551615",
                           "\"x\"", "[]", "[[]]", "{}", "[null]"}) {
    json = ParseJson(text, "test");
    body();
  }
  json = kept;
  if (!json.is_structured()) return;  // it would be an item of its own
  // Of long lists, the first and the last.
  size_t i = 0;
  for (Json& item : json) {
    if (json.is_object() || i == 0 || i + 1 == json.size()) ForEachChange(item, body);
    ++i;
  }
  if (json.is_object()) {
    for (const auto& [name, value] : kept.items()) {
      json.erase(name);
      body();
      json = kept;
    }
  } else if (json.is_array() && !json.empty()) {
    json.erase(json.begin());
    body();
    json = kept;
  }
}

// Either it is an Error, or what was read is what is there.
TEST_F(LayerRecordTest, TakesNothingForWhatItIsNot) {
  int64_t changes = 0, errors = 0;
  ForEachChange(record_, [&] {
    ++changes;
    Json again;
    const std::string error = ErrorOf([&] { again = WriteAgain(Read(record_)); });
    errors += !error.empty();
    if (error.empty()) {
      // Numbers may be written in another way, and fields of others are passed over.
      EXPECT_EQ(WriteAgain(Read(again)), again);
    }
  });
  EXPECT_GT(changes, 500);
  EXPECT_GT(errors, changes * 8 / 10) << changes;
}

TEST_F(LayerRecordTest, NamesWhatCannotBe) {
  const auto expect_error = [&](const char* part, const char* pointer, const Json& value) {
    Json changed = record_;
    changed[Json::json_pointer(pointer)] = value;
    EXPECT_ERROR(part, Read(ParseJson(DumpJson(changed), "test")));
  };
  EXPECT_ERROR("'layer'", LayerRecordFromJson(record_, config_, 0));
  expect_error("expected 4 sites", "/result/sites", Json::array());
  expect_error("expected a float", "/result/sites/0/scale", 1e39);
  expect_error("expected a float", "/result/sites/0/channel_absmax/0", 1e39);
  expect_error("expected another tensor of model.layers.1.", "/tensors/0/name", "model.norm");
  expect_error("expected another tensor of", "/tensors/0/name", "model.layers.1.b");
  expect_error("dtype", "/tensors/0/dtype", "Q4_K");
  expect_error("is empty", "/tensors/0/shape", {0, 4});
  expect_error("is not valid", "/tensors/0/shape", {int64_t{1} << 62, 4});
}

TEST_F(LayerRecordTest, CalibrationIsOfTokensOfTheModel) {
  const CalibrationSet set = {{{0, 1, 2}, {static_cast<int32_t>(config_.vocab) - 1}}};
  Json json = ParseJson(DumpJson(CalibrationToJson(set)), "test");
  EXPECT_EQ(CalibrationFromJson(json, config_).sequences, set.sequences);
  for (const char* text : {"null", "[]", "[[]]", "[[-1]]", "[[0.5]]", "[[1,\"x\"]]", "{}", "5",
                           "[[4294967296]]", "[[18446744073709551615]]"}) {
    json["calibration"] = ParseJson(text, "test");
    EXPECT_NE(ErrorOf([&] { CalibrationFromJson(json, config_); }), "") << text;
  }
  json["calibration"] = {{config_.vocab}};
  EXPECT_ERROR("expected a token", CalibrationFromJson(json, config_));
  json["calibration"] = {std::vector<int32_t>(static_cast<size_t>(config_.max_positions) + 1)};
  EXPECT_ERROR("tokens", CalibrationFromJson(json, config_));
}

}  // namespace
}  // namespace fptq
