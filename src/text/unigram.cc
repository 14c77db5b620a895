#include "text/unigram.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/utf8.h"
#include "text/decoder.h"
#include "text/vocabulary.h"

namespace fptq {

Unigram::Unigram(const Json& model, const std::string& where) {
  const JsonFields fields(model, where);
  ReadVocab(fields);
  byte_fallback_ = fields.BoolOr("byte_fallback", false);
  if (fields.Has("unk_id")) {
    unknown_ = static_cast<int32_t>(fields.Int("unk_id", 0, std::ssize(scores_) - 1));
  }
}

void Unigram::ReadVocab(const JsonFields& model) {
  constexpr double kUnknownPenalty = 10;  // below the token of the lowest score
  const Json& vocab = model.Array("vocab");
  if (std::ssize(vocab) > kMaxTokenIds) {
    throw Error("{}: vocab: expected at most {} tokens, found {}", model.where(), kMaxTokenIds,
                vocab.size());
  }
  vocab_ = TokenMap(vocab.size());
  scores_.reserve(vocab.size());
  for (const Json& entry : vocab) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      throw Error("{}: vocab: token {}: expected [token, score], found {}", model.where(),
                  scores_.size(),
                  entry.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80));
    }
    const auto id = static_cast<int32_t>(scores_.size());
    const auto& token = entry[0].get_ref<const std::string&>();
    if (!vocab_.Add(token, id)) {
      throw Error("{}: vocab: tokens {} and {} are both '{}'", model.where(), *vocab_.Find(token),
                  id, token);
    }
    trie_.Add(token) = id;
    scores_.push_back(entry[1].get<double>());
  }
  if (!scores_.empty()) unknown_score_ = *std::ranges::min_element(scores_) - kUnknownPenalty;
}

void Unigram::FindBestPath(std::string_view word, std::vector<Node>& nodes) const {
  nodes.assign(word.size() + 1, Node());
  size_t begin = 0;
  const auto reach = [&](size_t end, double score, int32_t id) {
    score += nodes[begin].score;
    if (nodes[end].begin == kUnreached || score > nodes[end].score) {
      nodes[end] = {score, id, static_cast<uint32_t>(begin)};
    }
  };
  while (begin < word.size()) {
    const std::string_view rest = word.substr(begin);
    const auto character = static_cast<size_t>(Utf8CharLength(rest));
    bool is_token = false;  // the character alone
    trie_.FindPrefixes(rest, [&](int32_t id, size_t length) {
      reach(begin + length, scores_[static_cast<size_t>(id)], id);
      is_token = is_token || length == character;
    });
    if (!is_token) {
      if (!unknown_) {
        throw Error("tokenizer: no token stands for '{}', and none for what is unknown",
                    rest.substr(0, character));
      }
      reach(begin + character, unknown_score_, *unknown_);
    }
    begin += character;
  }
}

void Unigram::Hide(std::string_view token) {
  if (vocab_.Contains(token)) trie_.Add(token) = ByteTrie::kNone;
}

// A run of unknown characters may itself be a token.
void Unigram::AddUnknown(std::string_view part, std::vector<int32_t>& ids) const {
  int32_t whole = ByteTrie::kNone;
  trie_.FindPrefixes(part, [&](int32_t id, size_t length) {
    if (length == part.size()) whole = id;
  });
  if (whole != ByteTrie::kNone) return ids.push_back(whole);
  const size_t size = ids.size();
  for (const char byte : byte_fallback_ ? part : "") {
    const std::optional<int32_t> id = vocab_.Find(ByteToken(static_cast<uint8_t>(byte)));
    if (!id) {
      ids.resize(size);
      break;
    }
    ids.push_back(*id);
  }
  if (ids.size() == size) ids.push_back(*unknown_);
}

void Unigram::Encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const {
  if (word.size() >= kUnreached) {
    throw Error("tokenizer: a word of {} bytes is too long", word.size());
  }
  FindBestPath(word, scratch.nodes_);
  // From the end of the word to its beginning.
  const auto first = std::ssize(ids);
  for (size_t end = word.size(); end > 0;) {
    size_t begin = scratch.nodes_[end].begin;
    if (unknown_ != scratch.nodes_[end].id) {
      ids.push_back(scratch.nodes_[end].id);
    } else {
      while (begin > 0 && unknown_ == scratch.nodes_[begin].id) begin = scratch.nodes_[begin].begin;
      const auto run = std::ssize(ids);
      AddUnknown(word.substr(begin, end - begin), ids);
      std::reverse(ids.begin() + run, ids.end());
    }
    end = begin;
  }
  std::reverse(ids.begin() + first, ids.end());
}

}  // namespace fptq
