#include "text/sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "text/character_map.h"
#include "text/token_map.h"

namespace fptq {
namespace {

constexpr const char* kSpace = "\xe2\x96\x81";  // U+2581
// Bounds the merges that a hostile vocabulary can ask for; SentencePiece's own limit is 16
// characters unless it is told otherwise.
constexpr size_t kMaxMergedBytes = 512;

struct Merge {
  float score;
  size_t id;
  size_t split;  // bytes of the left part
};

// All pairs of pieces that make a piece, in the order in which they are merged: by score, then by
// id, the shorter left part first.
std::vector<Merge> FindMerges(const Vocabulary& vocabulary) {
  TokenMap parts(vocabulary.tokens.size());
  const auto is_normal = [&](size_t id) { return vocabulary.types[id] == TokenType::kNormal; };
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (is_normal(id)) parts.Add(vocabulary.tokens[id], static_cast<int32_t>(id));
  }
  std::vector<Merge> merges;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string_view token = vocabulary.tokens[id];
    if (!is_normal(id) || token.size() > kMaxMergedBytes) continue;
    for (size_t split = 1; split < token.size(); ++split) {
      if (parts.Contains(token.substr(0, split)) && parts.Contains(token.substr(split))) {
        merges.push_back({vocabulary.scores[id], id, split});
      }
    }
  }
  std::ranges::sort(merges, {}, [](const Merge& merge) {
    return std::tuple(-merge.score, merge.id, merge.split);
  });
  return merges;
}

bool HasByteTokens(const Vocabulary& vocabulary) {
  return std::ranges::count(vocabulary.types, TokenType::kByte) > 0;
}

Json UnigramJson(const Vocabulary& vocabulary, std::optional<int64_t> unknown) {
  Json vocab = Json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    vocab.push_back(Json::array({vocabulary.tokens[id], vocabulary.scores[id]}));
  }
  return {{"type", "Unigram"},
          {"unk_id", unknown ? Json(*unknown) : Json()},
          {"vocab", std::move(vocab)},
          {"byte_fallback", HasByteTokens(vocabulary)}};
}

Json BpeJson(const Vocabulary& vocabulary, std::optional<int64_t> unknown,
             const std::string& where) {
  Json vocab = VocabJson(vocabulary, where);
  Json merges = Json::array();
  for (const Merge& merge : FindMerges(vocabulary)) {
    const std::string& token = vocabulary.tokens[merge.id];
    merges.push_back(Json::array({token.substr(0, merge.split), token.substr(merge.split)}));
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", unknown ? Json(vocabulary.tokens[static_cast<size_t>(*unknown)]) : Json()},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", true},
          {"byte_fallback", HasByteTokens(vocabulary)},
          {"ignore_merges", false},
          {"vocab", std::move(vocab)},
          {"merges", std::move(merges)}};
}

// Whether the pre-tokenizer puts the space before a text, not the normalizer.
bool UsesMetaspace(const SentencePieceOptions& options) {
  return options.method.unigram || options.prefix_at_start_only;
}

Json NormalizerJson(const SentencePieceOptions& options) {
  Json steps = Json::array();
  if (!options.method.character_map.empty()) {
    steps.push_back({{"type", "Precompiled"},
                     {"precompiled_charsmap", EncodeBase64(options.method.character_map)}});
  }
  if (options.method.removes_spaces) {
    // A space that stays in front is the one that a text is to begin with.
    const bool takes_space = UsesMetaspace(options) && options.add_prefix_space;
    steps.push_back({{"type", "Strip"}, {"strip_left", !takes_space}, {"strip_right", true}});
    steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}});
  }
  if (UsesMetaspace(options)) {
    if (steps.empty()) return nullptr;
    return {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
  }
  if (options.add_prefix_space) steps.push_back({{"type", "Prepend"}, {"prepend", kSpace}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}});
  return {{"type", "Sequence"}, {"normalizers", std::move(steps)}};
}

Json PreTokenizerJson(const SentencePieceOptions& options) {
  if (!UsesMetaspace(options)) return nullptr;
  const char* const scheme = options.prefix_at_start_only ? "first" : "always";
  return {{"type", "Metaspace"},
          {"replacement", kSpace},
          {"prepend_scheme", options.add_prefix_space ? scheme : "never"},
          {"split", false}};
}

Json DecoderJson(const SentencePieceOptions& options) {
  Json steps = {{{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}},
                {{"type", "ByteFallback"}},
                {{"type", "Fuse"}}};
  if (options.add_prefix_space) {
    steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"type", "Sequence"}, {"decoders", std::move(steps)}};
}

}  // namespace

Json SentencePieceTokenizerJson(const Vocabulary& vocabulary, const SentencePieceOptions& options,
                                const std::string& where) {
  if (vocabulary.scores.size() != vocabulary.tokens.size()) {
    throw Error("{}: expected a score for each of {} tokens, found {}", where,
                vocabulary.tokens.size(), vocabulary.scores.size());
  }
  for (size_t id = 0; id < vocabulary.scores.size(); ++id) {
    if (std::isnan(vocabulary.scores[id])) throw Error("{}: token {} has no score", where, id);
  }
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", AddedTokensJson(vocabulary)},
          {"normalizer", NormalizerJson(options)},
          {"pre_tokenizer", PreTokenizerJson(options)},
          {"post_processor", PostProcessorJson(vocabulary, options.bos, options.eos)},
          {"decoder", DecoderJson(options)},
          {"model", options.method.unigram ? UnigramJson(vocabulary, options.unknown)
                                           : BpeJson(vocabulary, options.unknown, where)}};
}

}  // namespace fptq
