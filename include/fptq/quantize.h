// From a float checkpoint to a W4A8 folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fptq/error.h"
#include "fptq/progress.h"

namespace fptq {

// A linear whose weights are about to be rounded, after equalization: what is rounded is what the
// folder will stand for. Spans are valid during the call.
struct LinearToRound {
  std::string name;  // Hugging Face's, "model.layers.0.mlp.down_proj"
  int64_t layer = 0;
  std::string site;                     // "attn_in", "attn_out", "mlp_in" or "mlp_mid"
  int64_t channels = 0, inputs = 0;     // N, K
  int64_t group_size = 0;               // inputs that share a scale; divides K
  int bits = 4;                         // 4 or 8
  bool symmetric = true;                // the groups have no zero points
  std::span<const float> weights;       // [N, K]
  std::span<const float> mean_squares;  // [K], of the calibrated inputs X
  std::span<const float> gram;          // [K, K], X^T X; empty if the recipe's method has no use
};

// w = (q - zero point) * scale of the group.
struct RoundedLinear {
  std::vector<int8_t> q;            // [N, K], from -2^(bits - 1) to 2^(bits - 1) - 1
  std::vector<float> scales;        // [N, K / group_size], not 0; rounded to the model's type
  std::vector<int8_t> zero_points;  // [N, K / group_size], in the same range; empty: all 0
};

// Called for each linear; nothing: the recipe's method rounds it.
using RoundingFunction = std::function<std::optional<RoundedLinear>(const LinearToRound&)>;

struct QuantizationOptions {
  // A name of a recipe ("fptq", "fptq-paper", "rtn", ...; RecipeNames has all) or a JSON file;
  // empty: the default.
  std::string recipe;
  // Settings as a recipe file has them, e.g. {"group_size": 64}; they go before the recipe's.
  std::string settings_json;
  // Token ids to calibrate with, in place of what the recipe says; empty: as it says.
  std::vector<std::vector<int32_t>> calibration;
  // Rounds in place of the recipe's method. As nobody can tell whether a function is the same, an
  // interrupted run with one begins anew.
  RoundingFunction rounding;
  int threads = 0;             // 0: as many as this process may use cores
  bool replace = false;        // an output that exists, if fptq wrote it
  bool restart = false;        // do not go on with what an interrupted run left
  bool ignore_limits = false;  // begin though memory or disk are too small
  std::string pre_tokenizer;   // as LlmOptions has it
  ProgressCallback progress;   // a call that was cancelled goes on later with what was finished
};

struct QuantizationSummary {
  double seconds = 0;
  int64_t source_bytes = 0, output_bytes = 0;  // of the tensors
  double bits_per_weight = 0;                  // of the linears, scales included
  std::map<std::string, int64_t> sites;        // how many were given which quantization
  std::vector<std::string> warnings;
  std::string report_json;  // what fptq.json has: each decision, its reason and errors
};

FPTQ_API std::vector<std::string> RecipeNames();

// Writes `output`, whole or not at all. The same source and recipe give the same bytes, whatever
// the number of threads.
FPTQ_API QuantizationSummary Quantize(const std::filesystem::path& source,
                                      const std::filesystem::path& output,
                                      const QuantizationOptions& options = {});

// What Quantize would decide, as JSON: a list with one object a site, as those of "sites" in
// fptq.json. Writes nothing.
FPTQ_API std::string PlanQuantization(const std::filesystem::path& source,
                                      const QuantizationOptions& options = {});

}  // namespace fptq
