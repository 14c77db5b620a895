// A request on its way through the engine.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/page_pool.h"
#include "engine/request.h"
#include "engine/stop.h"
#include "model/model.h"

namespace fptq {

// What a row of logits says: the token that comes next, drawn or, within the prompt, given.
struct RowResult {
  TokenLogProbability token;  // its log-probability only if asked for
  std::string error;          // if not empty, there is no token
};

// Its tokens so far, which of them are computed, and what becomes of the logits. It may lose its
// pages between two steps (Preempt) and be computed again from its tokens: the answer is the same.
class Sequence {
 public:
  using Clock = std::chrono::steady_clock;

  // Error if the request is not valid: options out of their range, tokens beyond the vocabulary, a
  // prompt that is empty or longer than the context. May be made on any thread.
  Sequence(const Model& model, PagePool& pool, int64_t context, Request request,
           std::unique_ptr<Sink> sink);

  uint64_t id = 0;                          // in the order in which they came
  std::optional<FinishReason> interrupted;  // it is to end before the next step

  std::span<const int32_t> tokens() const { return tokens_; }
  // How many of the tokens have their keys and values in the cache.
  int64_t computed() const { return computed_; }
  // How many are still to be computed before another token can be drawn, or before the end.
  int64_t left() const { return Rows() - computed_; }
  // The first row whose logits are needed: it and those after it cannot be shared.
  int64_t first_logits() const;

  // Without pages it waits. Admit gets pages for all of its tokens, those that the prefix cache has
  // among them; false, and it still waits, if less than `spare` others would be left. Begin looks
  // into the prefix cache once more, since other sequences may have been there meanwhile, and takes
  // a part of a page as well: copy(from, to). Grow gets a page for the last token if it needs one.
  bool Admit(int64_t spare);
  void Begin(FunctionRef<void(int32_t, int32_t)> copy);
  bool Grow() { return table_.Reserve(std::ssize(tokens_)); }
  void Preempt();
  bool begun() const { return begun_; }
  bool started() const { return started_.has_value(); }  // it had a step, or its first one comes
  bool decoding() const { return begun_ && left() == 1; }
  bool answering() const { return answer() > 0; }
  bool will_decode() const { return room() > 1; }  // after its prompt

  // The next rows, at most left().
  BatchChunk Chunk(int64_t rows) const;
  // What the logits of a row of its chunk say; it has first_logits() or comes after it. May be
  // called for several rows at a time.
  RowResult Evaluate(int64_t row, std::span<float> logits, Sampler::Scratch& scratch);
  // The chunk of so many rows is computed; `results` are those of its last rows. Tells the sink.
  // True if that was the end.
  bool Advance(int64_t rows, std::span<RowResult> results);
  // Ends it before its time.
  void End(FinishReason reason, std::string error = {});

  // Those of its prompt that the prefix cache had when it began.
  int64_t cached_tokens() const { return finish_.cached_tokens; }
  std::optional<Clock::time_point> deadline() const { return request_.deadline; }

 private:
  int64_t Rows() const;
  int64_t room() const;  // for the answer
  int64_t answer() const { return std::ssize(tokens_) - prompt_; }
  std::optional<FinishReason> Accept(RowResult& result, Delta& delta);
  std::optional<FinishReason> Append(RowResult& result, Delta& delta);
  void End(FinishReason reason, Delta delta);

  const Model& model_;
  Request request_;
  int64_t context_;
  std::unique_ptr<Sink> sink_;
  std::vector<int32_t> tokens_;  // prompt and answer
  int64_t prompt_;               // tokens
  int64_t computed_ = 0;
  bool begun_ = false;
  BlockTable table_;
  Sampler sampler_;
  TokenStream stream_;
  StopMatcher stop_;
  std::vector<TokenLogProbability> prompt_scores_;  // those that are not delivered yet
  int64_t scored_ = 1;                              // the prompt's tokens before it are scored
  Clock::time_point submitted_ = Clock::now();
  std::optional<Clock::time_point> started_, answered_;  // first step, first token
  Finish finish_;
};

}  // namespace fptq
