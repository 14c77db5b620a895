// A model that runs: text, chat, scores.
//
// An LLM owns its threads. All its functions may be called from any thread; requests of several
// threads run together, in one batch, and each has the same bits as if it ran alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fptq/error.h"
#include "fptq/progress.h"
#include "fptq/tokenizer.h"

namespace fptq {

struct LlmOptions {
  int threads = 0;  // 0: as many as this process may use cores
  // The most tokens of a sequence, prompt and answer: up to one more than the model has positions,
  // as the last one needs none. 0: what the model has, up to 8,192; -1: all.
  int64_t context = 0;
  int64_t max_sequences = 64;  // that run at a time; others wait
  int64_t kv_memory = 0;       // bytes for keys and values; 0: a part of what is free
  bool prefix_cache = true;    // what prompts have in common is computed once; changes speed alone
  // A float model's weights in 8 bits, a quarter of the memory, or those of 4 and 8 bits as they
  // are where a model has float activations, which become int8.
  bool int8_weights = false;
  // A name of tokenizer.ggml.pre, for a GGUF file that has none.
  std::string pre_tokenizer;
};

struct SamplingParams {
  double temperature = 1;  // 0: greedy
  int64_t top_k = 0;       // keep the k best tokens; 0: all
  double top_p = 1;        // keep the fewest best tokens with this much of the probability; 1: all
  double min_p = 0;        // drop what is less probable than min_p times the best; 0: nothing
  double repetition_penalty =
      1;                         // divides positive logits of tokens seen, multiplies negative ones
  double presence_penalty = 0;   // subtracted once from logits of tokens of the answer
  double frequency_penalty = 0;  // subtracted as often as the answer has the token
  uint64_t seed = 0;             // equal seeds give equal answers, whatever else runs
  int64_t max_tokens = 256;      // 0: the prompt alone, for its scores
  std::vector<std::string> stop;     // the answer ends before the first of them
  std::vector<int32_t> stop_tokens;  // beside the model's own
  bool ignore_eos = false;
  // Log-probabilities of the answer's tokens, by the model itself, before penalties and
  // temperature; so many of the best alternatives beside each. None if absent.
  std::optional<int64_t> log_probabilities;
  bool prompt_log_probabilities = false;  // those of the prompt's tokens, too
  // The first of the prompt's tokens that are; what comes before it may be found in the prefix
  // cache.
  int64_t prompt_log_probabilities_begin = 0;
};

struct TokenScore {
  struct Alternative {
    int32_t token = 0;
    double log_probability = 0;
  };
  int32_t token = 0;
  double log_probability = 0;    // natural logarithm; NaN for the first token of a prompt
  std::vector<Alternative> top;  // best first
};

struct Completion {
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<TokenScore> scores;         // of `tokens`, if asked for
  std::vector<TokenScore> prompt_scores;  // likewise, from prompt_log_probabilities_begin on
  // "stop" (a stop token or string), "length" (max_tokens, or the context is full), "cancelled".
  std::string finish_reason;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, that had been computed before
};

// What a step adds to an answer.
struct Chunk {
  std::string text;  // whole UTF-8 characters
  std::vector<int32_t> tokens;
  std::vector<TokenScore> scores;
};

// An answer as it comes. Dropping it cancels the request.
class FPTQ_API Stream {
 public:
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  ~Stream();

  // Waits for so many seconds at most. True if Next would not wait.
  bool Wait(double seconds);
  // Waits for what comes next; nothing at the end. Error if the request failed.
  std::optional<Chunk> Next();
  // Reads what is left; all of the answer.
  Completion Collect();
  void Cancel();

 private:
  friend class LLM;
  struct State;
  class Receiver;
  explicit Stream(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

enum class Pooling { kMean, kLast };

struct ModelInfo {
  std::string architecture;  // "llama"
  bool quantized = false;
  int64_t layers = 0, hidden = 0, vocab = 0;
  int64_t positions = 0;            // that the model was made for
  std::vector<int32_t> eos_tokens;  // each of them ends a text
  int32_t start_token = -1;  // what a text without a beginning goes on from, BOS or EOS; -1: none
  int64_t weight_bytes = 0;  // of linears and head, as held in memory
  std::vector<std::string> warnings;  // what a user should know of the files
};

class FPTQ_API LLM {
 public:
  // `model`: a folder that fptq or llm-compressor wrote, a Hugging Face folder with float weights,
  // or a GGUF file.
  explicit LLM(const std::filesystem::path& model, const LlmOptions& options = {});
  LLM(LLM&&) noexcept;
  LLM& operator=(LLM&&) noexcept;
  ~LLM();  // cancels what still runs

  const ModelInfo& info() const;
  int64_t context() const;

  const ModelTokenizer& tokenizer() const;

  Stream Submit(std::vector<int32_t> prompt, const SamplingParams& params);
  // All prompts together, in their order.
  std::vector<Completion> Generate(std::span<const std::vector<int32_t>> prompts,
                                   const SamplingParams& params);
  Completion Generate(std::string_view prompt, const SamplingParams& params = {});
  Completion Chat(std::span<const ChatMessage> messages, const SamplingParams& params = {});

  // The log-probability of each token after those before it: [sequences][tokens]; NaN for the
  // first.
  std::vector<std::vector<double>> Score(std::span<const std::vector<int32_t>> sequences);

  // What the model makes of each sequence: the hidden state after the last norm, at the last token
  // or the mean over all, [sequences][hidden]. Computed beside what else runs, on threads of its
  // own.
  std::vector<std::vector<float>> Embed(std::span<const std::vector<int32_t>> sequences,
                                        Pooling pooling = Pooling::kMean,
                                        const ProgressCallback& progress = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fptq
