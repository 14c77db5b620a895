// Which other engines run a model as it lies there.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/source.h"

namespace fptq {

struct Reader {
  std::string_view name;  // "transformers", "vLLM on CPUs", "vLLM on GPUs"
  bool reads = false;
  std::string reason;  // how it computes, or what keeps it from that
};

// All readers that are known. What is said of transformers (5.19, with compressed-tensors 0.17) and
// of vLLM on CPUs (0.32) was tried; of vLLM on GPUs, and of Falcon and GPT-2 in both, it follows
// from its source.
std::vector<Reader> ReadersOf(const ModelSource& source);

// "transformers, vLLM on CPUs; not vLLM on GPUs: REASON", or "none; not ...".
std::string ReadersText(const std::vector<Reader>& readers);

}  // namespace fptq
