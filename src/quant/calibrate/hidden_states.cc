#include "quant/calibrate/hidden_states.h"

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

void HiddenStates::AdvanceAttention(const LayerWeights& weights, int64_t layer,
                                    ActivationObserver* observer) {
  const int64_t size = set_.TokenCount() * config_.hidden;
  if (mlp_inputs_.size() == 0) {
    mlp_inputs_ = MakeBuffer<float>(size, &memory_);
    mlp_outputs_ = MakeBuffer<float>(size, &memory_);
  }
  std::ranges::fill(mlp_outputs_.span(), 0.0f);
  const size_t mlps = MlpsOf(config_, layer).size();
  routed_.assign(mlps, {});
  int64_t first_row = 0;  // of the sequence
  for (size_t i = 0; i < hidden_.size(); ++i) {
    const int64_t rows = std::ssize(set_.sequences[i]);
    std::copy_n(hidden_[i].data(), hidden_[i].size(), activations_.hidden.data());
    ForwardAttention(config_, weights, layer, Batch(pages_, set_.sequences[i]), cache_,
                     /*cache_layer=*/0, pool_, activations_, observer);
    RouteRows(config_, weights, rows, pool_, activations_);
    const auto normed = activations_.normed.span().first(static_cast<size_t>(hidden_[i].size()));
    if (observer != nullptr) observer->Observe(layer, ActSite::kMlpIn, normed, rows);
    std::ranges::copy(normed, mlp_inputs_.data() + first_row * config_.hidden);
    for (size_t mlp = 0; mlp < mlps; ++mlp) {
      for (const auto& [row, weight] : activations_.routing.RowsOf(mlp)) {
        routed_[mlp].push_back({first_row + row, weight});
      }
    }
    std::copy_n(activations_.hidden.data(), hidden_[i].size(), hidden_[i].data());
    first_row += rows;
  }
}

int64_t HiddenStates::RowsOf(MlpId mlp) const {
  return std::ssize(routed_[MlpIndex(config_, mlp)]);
}

void HiddenStates::AdvanceMlp(const MlpWeights& weights, int64_t layer, MlpId mlp,
                              ActivationObserver* observer) {
  const std::span<const RoutedRow> routed = routed_[MlpIndex(config_, mlp)];
  const auto most = static_cast<size_t>(activations_.max_rows);
  for (size_t begin = 0; begin < routed.size(); begin += most) {
    AddMlp(config_, weights, layer, mlp,
           routed.subspan(begin, std::min(most, routed.size() - begin)), mlp_inputs_.span(),
           mlp_outputs_.span(), pool_, activations_, observer);
  }
}

void HiddenStates::FinishMixture(const Norm& norm) {
  const float* outputs = mlp_outputs_.data();
  for (AlignedBuffer<float>& hidden : hidden_) {
    std::copy_n(hidden.data(), hidden.size(), activations_.hidden.data());
    std::copy_n(outputs, hidden.size(), activations_.branch.data());
    AddBranch(config_, norm, hidden.size() / config_.hidden, pool_, activations_);
    std::copy_n(activations_.hidden.data(), hidden.size(), hidden.data());
    outputs += hidden.size();
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
