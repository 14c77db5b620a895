// How good a model is: perplexity, and how far it is from another one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "fptq/error.h"
#include "fptq/progress.h"

namespace fptq {

struct EvaluationOptions {
  int64_t context = 1024;     // tokens of a window; windows do not overlap
  int64_t tokens = 0;         // of the text that are used; 0: all
  int threads = 0;            // 0: as many as this process may use cores
  std::string pre_tokenizer;  // as LlmOptions has it
  ProgressCallback progress;
};

struct Measured {
  double value = 0;
  double standard_error = 0;  // NaN: unknown
};

struct PerplexitySummary {
  Measured perplexity;
  Measured nll;        // -log p of a token, mean
  int64_t tokens = 0;  // scored
};

// Of a text, in UTF-8.
FPTQ_API PerplexitySummary Perplexity(const std::filesystem::path& model, std::string_view text,
                                      const EvaluationOptions& options = {});

struct DivergenceSummary {
  PerplexitySummary model, reference;
  Measured ratio;  // of the perplexities
  Measured kl;     // sum p log(p / q) over the vocabulary, in nats, mean over the tokens
  Measured top1;   // share of tokens that both find most likely
};

// How far `model`'s predictions are from those of `reference`, usually the float model.
FPTQ_API DivergenceSummary CompareModels(const std::filesystem::path& model,
                                         const std::filesystem::path& reference,
                                         std::string_view text,
                                         const EvaluationOptions& options = {});

}  // namespace fptq
