#include "eval/embedding.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "engine/runner.h"

namespace fptq {
namespace {

constexpr int64_t kRows = 128;  // of a step

void CheckSequence(std::span<const int32_t> tokens, const ModelConfig& config, size_t index) {
  if (tokens.empty() || std::ssize(tokens) > config.max_positions) {
    throw Error("sequence {}: expected 1 to {} tokens, found {}", index, config.max_positions,
                tokens.size());
  }
  CheckTokens(tokens, config);
}

// Sequences that run together: neighbours of at most kRows tokens in all, or one that is longer.
struct Group {
  size_t begin = 0, end = 0;
  int64_t pages = 0;
};

std::vector<Group> GroupSequences(std::span<const std::vector<int32_t>> sequences) {
  std::vector<Group> groups;
  int64_t rows = kRows;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const int64_t length = std::ssize(sequences[i]);
    if (rows + length > kRows) {
      groups.push_back({.begin = i, .end = i});
      rows = 0;
    }
    rows += length;
    groups.back().end = i + 1;
    groups.back().pages += PagesFor(length);
  }
  return groups;
}

class Embedder {
 public:
  Embedder(const Model& model, EmbeddingOf which, int64_t pages, ThreadPool& pool)
      : model_(model),
        which_(which),
        runner_(model, {.positions = pages * kKvBlock, .rows = kRows, .logits_rows = 0}, pool) {}

  // Of each sequence of a group, the vectors.
  void Run(std::span<const std::vector<int32_t>> sequences, std::span<std::vector<float>> vectors) {
    const int64_t longest = std::ssize(*std::ranges::max_element(sequences, {}, Size));
    for (int64_t first = 0; first < longest; first += kRows) {
      ForwardBatch batch;
      size_t page = 0;
      for (const std::vector<int32_t>& tokens : sequences) {
        const auto pages = static_cast<size_t>(PagesFor(std::ssize(tokens)));
        const auto part = std::span(tokens).subspan(static_cast<size_t>(first));
        batch.chunks.push_back({.pages = runner_.Table(0).subspan(page, pages),
                                .first_position = first,
                                .tokens = part.first(std::min<size_t>(part.size(), kRows))});
        page += pages;
      }
      runner_.Run(batch);
      Take(batch, sequences, vectors);
    }
  }

 private:
  static size_t Size(const std::vector<int32_t>& tokens) { return tokens.size(); }

  void Take(const ForwardBatch& batch, std::span<const std::vector<int32_t>> sequences,
            std::span<std::vector<float>> vectors) {
    const ModelConfig& config = model_.config();
    const float* hidden = runner_.activations().hidden.data();
    std::vector<float> normed(static_cast<size_t>(config.hidden));
    for (size_t i = 0; i < batch.chunks.size(); ++i) {
      const BatchChunk& chunk = batch.chunks[i];
      const int64_t rows = std::ssize(chunk.tokens), length = std::ssize(sequences[i]);
      vectors[i].resize(normed.size());
      for (int64_t row = 0; row < rows; ++row, hidden += config.hidden) {
        const bool last = chunk.first_position + row + 1 == length;
        if (which_ == EmbeddingOf::kLastToken && !last) continue;
        ApplyNorm(model_.final_norm, config, hidden, normed.data());
        const float share = which_ == EmbeddingOf::kMean ? 1 / static_cast<float>(length) : 1;
        for (size_t j = 0; j < normed.size(); ++j) vectors[i][j] += share * normed[j];
      }
    }
  }

  const Model& model_;
  EmbeddingOf which_;
  Runner runner_;
};

}  // namespace

std::vector<std::vector<float>> EmbedSequences(const Model& model,
                                               std::span<const std::vector<int32_t>> sequences,
                                               EmbeddingOf which, ThreadPool& pool,
                                               const Progress& progress) {
  for (size_t i = 0; i < sequences.size(); ++i) CheckSequence(sequences[i], model.config(), i);
  const std::vector<Group> groups = GroupSequences(sequences);
  std::vector<std::vector<float>> vectors(sequences.size());
  if (groups.empty()) return vectors;
  Embedder embedder(model, which, std::ranges::max_element(groups, {}, &Group::pages)->pages, pool);
  for (const Group& group : groups) {
    const size_t count = group.end - group.begin;
    embedder.Run(sequences.subspan(group.begin, count),
                 std::span(vectors).subspan(group.begin, count));
    if (progress) {
      progress("embedding", static_cast<int64_t>(group.end), std::ssize(sequences));
    }
  }
  return vectors;
}

}  // namespace fptq
