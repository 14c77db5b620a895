// What the journal of a quantization has in it: all numbers come back bit for bit. Reading gives an
// Error where a record is not what writing gives for this model, so that nobody who changes the
// file can do more harm than to have the work done again.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/json.h"
#include "io/tensor_spool.h"
#include "model/config.h"
#include "quant/calibrate/calibration_set.h"
#include "quant/decide/policy.h"
#include "quant/run/report.h"

namespace fptq {

// What came of a layer beside its tensors.
struct LayerResult {
  LayerPolicy policy;
  std::vector<LinearReport> linears;
  int64_t linear_weights = 0;  // as in QuantizeReport
  int64_t linear_bytes = 0;
};

// A finished layer.
struct LayerRecord {
  LayerResult result;
  std::vector<TensorSpool::Entry> tensors;
  uint32_t hidden_checksum = 0;  // of the hidden states that come out of it
};

Json LayerRecordToJson(const LayerResult& result, std::span<const TensorSpool::Entry> tensors,
                       uint32_t hidden_checksum);
LayerRecord LayerRecordFromJson(const Json& json, const ModelConfig& config, int64_t layer);

Json CalibrationToJson(const CalibrationSet& set);
CalibrationSet CalibrationFromJson(const Json& json, const ModelConfig& config);

}  // namespace fptq
