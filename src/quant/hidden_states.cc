#include "quant/hidden_states.h"

#include <algorithm>
#include <utility>

namespace fptq {
namespace {

ForwardBatch Batch(const std::vector<int32_t>& pages, const std::vector<int32_t>& tokens) {
  return {.chunks = {{.pages = pages, .first_position = 0, .tokens = tokens, .logits = 0}}};
}

}  // namespace

HiddenStates::HiddenStates(const ModelSource& source, const CalibrationSet& set, Arena memory,
                           ThreadPool& pool)
    : config_(source.config()),
      set_(set),
      pool_(pool),
      activations_(config_, set.LongestSequence(), /*max_logits_rows=*/0),
      cache_(config_, KvType::kF32, PagesFor(set.LongestSequence()), /*layers=*/1),
      pages_(PageRange(0, cache_.pages())),
      memory_(std::move(memory)) {
  for (const std::vector<int32_t>& tokens : set.sequences) {
    EmbedTokens(config_, source.embedding(), Batch(pages_, tokens), pool, activations_);
    hidden_.push_back(MakeBuffer<float>(std::ssize(tokens) * config_.hidden, &memory_));
    std::copy_n(activations_.hidden.data(), hidden_.back().size(), hidden_.back().data());
  }
  // All sequences begin at position 0, so the rotations of the longest serve all of them.
  const auto size = [](const std::vector<int32_t>& tokens) { return tokens.size(); };
  PrepareRope(config_, Batch(pages_, *std::ranges::max_element(set.sequences, {}, size)), pool_,
              activations_);
}

void HiddenStates::Advance(const LayerWeights& weights, int64_t layer,
                           ActivationObserver* observer) {
  for (size_t i = 0; i < hidden_.size(); ++i) {
    std::copy_n(hidden_[i].data(), hidden_[i].size(), activations_.hidden.data());
    ForwardLayer(config_, weights, layer, Batch(pages_, set_.sequences[i]), cache_,
                 /*cache_layer=*/0, pool_, activations_, observer);
    std::copy_n(activations_.hidden.data(), hidden_[i].size(), hidden_[i].data());
  }
}

std::vector<std::span<float>> HiddenStates::states() {
  std::vector<std::span<float>> states;
  for (AlignedBuffer<float>& sequence : hidden_) states.push_back(sequence.span());
  return states;
}

std::vector<std::span<const float>> HiddenStates::states() const {
  std::vector<std::span<const float>> states;
  for (const AlignedBuffer<float>& sequence : hidden_) states.push_back(sequence.span());
  return states;
}

}  // namespace fptq
