// What a model is made to write where it writes its own calibration text.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "model/model.h"
#include "quant/calibrate/random_tokens.h"

namespace fptq {

// How sequences begin, and how they go on where the model ends a text. Texts begin with any token
// of the vocabulary: rare ones lead to rare subjects, languages and notations. Conversations begin
// as the chat template begins a user's turn; the model asks, answers, and asks again (as Magpie,
// arXiv 2406.08464).
class SelfTextPlan {
 public:
  // `model` must outlive this. Error if it is to write conversations and has no chat template, or
  // none that shows where turns begin.
  SelfTextPlan(uint64_t seed, bool chat, const Model& model);

  // The first token of the next sequence.
  int32_t Begin();
  // What goes on sequence `i`: `drawn`, unless another token has to follow here.
  int32_t Next(size_t i, int32_t drawn);

 private:
  struct Sequence {
    std::deque<int32_t> ahead;  // tokens that have to follow
    bool asks = true;           // the user's turn
  };

  void FindTurns(const Model& model);

  const Tokenizer& tokenizer_;
  RandomTokens random_;
  bool chat_;
  // What the chat template puts before a user's first turn, between it and the assistant's answer,
  // and between that and the next question.
  std::vector<int32_t> first_turn_, answer_, question_;
  std::vector<Sequence> sequences_;
};

}  // namespace fptq
