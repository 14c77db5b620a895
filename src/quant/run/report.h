// What quantization did: for the end summary and for fptq.json.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "quant/decide/policy.h"

namespace fptq {

struct LinearReport {
  std::string name;
  int64_t bits = 0;
  int64_t group_size = 0;
  // sqrt(sum d (w - s q)^2 / sum d w^2) with d the mean square of the input channel: the relative
  // error of the output, taking channels as uncorrelated.
  double weight_error = 0;
};

struct QuantizeReport {
  double seconds = 0;              // of this run
  int64_t resumed_layers = 0;      // which an earlier run had finished
  int64_t calibration_tokens = 0;  // that the float model ran over
  int64_t source_bytes = 0;        // of the tensors
  int64_t output_bytes = 0;        // of the tensors
  int64_t linear_weights = 0;      // number of weights quantized
  int64_t linear_bytes = 0;        // their bytes, scales included
  std::vector<SitePolicy> sites;
  std::vector<LinearReport> linears;
  std::vector<std::string> warnings;  // as Model::warnings; those of the run, too

  double BitsPerWeight() const;                         // of the quantized linears, scales included
  std::map<std::string, int64_t> CountChoices() const;  // sites by ActChoiceName
};

// An object of "sites" in fptq.json.
Json SiteReportToJson(const SitePolicy& site);

// fptq.json: the recipe, the policy of each site with its reason, the error of each linear, the
// version.
Json ReportToJson(const QuantizeReport& report, const QuantRecipe& recipe);

}  // namespace fptq
