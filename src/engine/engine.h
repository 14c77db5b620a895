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
#include "engine/sampler.h"
#include "model/model.h"

namespace fptq {

struct GenerateOptions {
  SamplerOptions sampling;
  int64_t max_tokens = 256;
  std::vector<int32_t> stop_tokens;           // beside the model's EOS tokens
  const std::atomic<bool>* cancel = nullptr;  // looked at between steps
};

enum class StopReason { kStopToken, kMaxTokens, kContextFull, kCancelled };

struct Timings {
  int64_t prompt_tokens = 0;  // those that were computed, not those found in the KV cache
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
  StopReason stop = StopReason::kMaxTokens;
  Timings timings;
};

// One sequence over a shared model. The KV cache outlives a call: tokens that a prompt has in
// common with the sequence so far, as in the next turn of a conversation, are not computed again.
class Engine {
 public:
  // `context`: the most tokens a sequence may have, prompt and answer together.
  Engine(std::shared_ptr<const Model> model, ThreadPool& pool, int64_t context);

  const Model& model() const { return *model_; }
  int64_t context() const { return context_; }

  // Gives text to `on_text` as it comes, in whole UTF-8 characters; special tokens have none. Error
  // if the prompt is empty or longer than the context.
  Generation Generate(std::span<const int32_t> prompt, const GenerateOptions& options,
                      FunctionRef<void(std::string_view)> on_text);

 private:
  // False if cancelled; then what has been computed stays in the cache.
  bool Prefill(std::span<const int32_t> prompt, const GenerateOptions& options, Timings& timings);
  void Decode(const GenerateOptions& options, FunctionRef<void(std::string_view)> on_text,
              Generation& out);
  void Step(std::span<const int32_t> tokens);

  std::shared_ptr<const Model> model_;
  ThreadPool& pool_;
  int64_t context_;
  KvCache cache_;
  std::vector<int32_t> pages_;  // all of the cache
  Activations activations_;
  ForwardBatch batch_;           // one chunk
  std::vector<int32_t> tokens_;  // whose keys and values are in the cache
};

}  // namespace fptq
