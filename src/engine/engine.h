// Generates text from a prompt.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "engine/scheduler.h"
#include "model/model.h"

namespace fptq {

struct GenerateOptions {
  SamplerOptions sampling = {};
  int64_t max_tokens = 256;
  std::vector<int32_t> stop_tokens = {};       // beside the model's EOS tokens
  std::vector<std::string> stop_strings = {};  // the answer ends before the first of them
  const std::atomic<bool>* cancel = nullptr;   // looked at between steps
};

struct Timings {
  int64_t prompt_tokens = 0;  // those that were computed, not those found in the prefix cache
  double prompt_seconds = 0;
  int64_t decode_tokens =
      0;  // the first token comes from the prompt's logits and is not among them
  double decode_seconds = 0;

  Timings& operator+=(const Timings& other);
  double prompt_rate() const;  // tokens per second, 0 if there were none
  double decode_rate() const;
};

struct Generation {
  std::vector<int32_t> tokens;  // without the stop token
  std::string text;
  FinishReason stop = FinishReason::kMaxTokens;
  Timings timings;
};

// One request after another over a shared model. What a prompt has in common with those before, as
// in the next turn of a conversation, is in the prefix cache and not computed again.
class Engine {
 public:
  // `context`: the most tokens a sequence may have, prompt and answer together.
  Engine(std::shared_ptr<const Model> model, ThreadPool& pool, int64_t context);

  const Model& model() const { return *model_; }
  int64_t context() const { return scheduler_.context(); }

  // Gives text to `on_text` as it comes, in whole UTF-8 characters; special tokens have none. Error
  // if the prompt is empty or longer than the context, or the model gives no finite logits.
  Generation Generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                      FunctionRef<void(std::string_view)> on_text);

 private:
  std::shared_ptr<const Model> model_;
  Scheduler scheduler_;
};

}  // namespace fptq
