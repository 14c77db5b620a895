// From a float checkpoint to a W4A8 folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fptq/error.h"

namespace fptq {

// Called now and then with what is going on and how far it is. False cancels: what is thrown then
// is an Error of kind kCancelled, and the same call goes on later with what was finished.
using ProgressCallback = std::function<bool(std::string_view stage, int64_t done, int64_t total)>;

struct QuantizationOptions {
  // A name of a recipe ("fptq", "fptq-paper", "rtn", ...; RecipeNames has all) or a JSON file;
  // empty: the default.
  std::string recipe;
  // Settings as a recipe file has them, e.g. {"group_size": 64}; they go before the recipe's.
  std::string settings_json;
  int threads = 0;             // 0: as many as this process may use cores
  bool replace = false;        // an output that exists, if fptq wrote it
  bool restart = false;        // do not go on with what an interrupted run left
  bool ignore_limits = false;  // begin though memory or disk are too small
  std::string pre_tokenizer;   // as LlmOptions has it
  ProgressCallback progress;
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

// What Quantize would decide, as JSON: a list with one object a site. Writes nothing.
FPTQ_API std::string PlanQuantization(const std::filesystem::path& source,
                                      const QuantizationOptions& options = {});

}  // namespace fptq
