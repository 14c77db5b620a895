#include "text/vocabulary.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/token_map.h"

namespace fptq {

int64_t TokenIdLimit(size_t tokens) {
  constexpr int64_t kGap = 65536, kIdsPerToken = 16;
  const auto count = static_cast<int64_t>(std::min(tokens, static_cast<size_t>(kMaxTokenIds)));
  return std::min(kMaxTokenIds, kGap + kIdsPerToken * count);
}

Json VocabJson(const Vocabulary& vocabulary, const std::string& where) {
  // Appended, not assigned by name: an ordered object is searched from its start at each look-up.
  Json::object_t ids;
  ids.reserve(vocabulary.tokens.size());
  TokenMap seen(vocabulary.tokens.size());
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (vocabulary.types[id] == TokenType::kUnused) continue;
    const std::string& token = vocabulary.tokens[id];
    if (!seen.Add(token, static_cast<int32_t>(id))) {
      throw Error("{}: tokens {} and {} are both '{}'", where, *seen.Find(token), id, token);
    }
    ids.emplace_back(vocabulary.tokens[id], id);
  }
  return ids;
}

Json AddedTokensJson(const Vocabulary& vocabulary) {
  Json added = Json::array();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const TokenType type = vocabulary.types[id];
    if (type != TokenType::kControl && type != TokenType::kUnknown &&
        type != TokenType::kUserDefined) {
      continue;
    }
    added.push_back({{"id", id},
                     {"content", vocabulary.tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", type != TokenType::kUserDefined}});
  }
  return added;
}

Json PostProcessorJson(const Vocabulary& vocabulary, std::optional<int64_t> before,
                       std::optional<int64_t> after) {
  if (!before && !after) return nullptr;
  Json special_tokens = Json::object();
  Json single = Json::array();
  const auto add = [&](std::optional<int64_t> id) {
    if (!id) return;
    const std::string& token = vocabulary.tokens.at(static_cast<size_t>(*id));
    special_tokens[token] = {
        {"id", token}, {"ids", Json::array({*id})}, {"tokens", Json::array({token})}};
    single.push_back({{"SpecialToken", {{"id", token}, {"type_id", 0}}}});
  };
  add(before);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  add(after);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", Json::array({{{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
                                {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}})},
          {"special_tokens", special_tokens}};
}

}  // namespace fptq
