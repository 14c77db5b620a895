#include "text/pre_tokenizer.h"

#include <algorithm>

#include "base/error.h"

namespace fptq {
namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string SplitPattern(const JsonFields& spec) {
  const JsonFields pattern(spec.Object("pattern"), spec.where() + ": pattern");
  return pattern.Has("Regex") ? pattern.String("Regex") : Regex::Escape(pattern.String("String"));
}

}  // namespace

PreTokenizer::PreTokenizer(const Json& spec, const std::string& where) {
  Parse(spec, where);
  if (!has_byte_level_) {
    throw Error("{}: expected a pre-tokenizer that ends in ByteLevel: no other is supported",
                where);
  }
}

void PreTokenizer::Parse(const Json& spec, const std::string& where) {
  constexpr size_t kMaxStages = 64;
  const JsonFields fields(spec, where);
  const std::string type = fields.String("type");
  if (type == "Sequence") {
    for (const Json& member : fields.Array("pretokenizers")) Parse(member, where);
    return;
  }
  if (has_byte_level_) throw Error("{}: {} after ByteLevel is not supported", where, type);
  if (stages_.size() == kMaxStages) throw Error("{}: more than {} stages", where, kMaxStages);
  Stage stage;
  if (type == "ByteLevel") {
    has_byte_level_ = true;
    stage.add_prefix_space = fields.BoolOr("add_prefix_space", true);
    if (fields.BoolOr("use_regex", true)) stage.regex.emplace(kGpt2Pattern, where);
  } else if (type == "Digits") {
    stage.regex.emplace(fields.BoolOr("individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)",
                        where);
  } else if (type == "Split") {
    stage.regex.emplace(SplitPattern(fields), where);
    stage.behavior = ParseBehavior(fields.String("behavior"), where);
    stage.invert = fields.BoolOr("invert", false);
  } else {
    throw Error("{}: '{}' is not supported; known are Sequence, Split, Digits, ByteLevel", where,
                type);
  }
  stages_.push_back(std::move(stage));
}

PreTokenizer::Behavior PreTokenizer::ParseBehavior(std::string_view name,
                                                   const std::string& where) {
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  throw Error("{}: Split with the unknown behavior '{}'", where, name);
}

std::vector<PreTokenizer::Piece> PreTokenizer::Pieces(const Stage& stage, std::string_view text) {
  std::vector<Piece> pieces;
  const auto add = [&](size_t begin, size_t end, bool is_match) {
    pieces.push_back({begin, end, is_match != stage.invert});
  };
  size_t done = 0;
  stage.regex->FindAll(text, [&](size_t begin, size_t end) {
    if (done < begin) add(done, begin, /*is_match=*/false);
    add(begin, end, /*is_match=*/true);
    done = end;
  });
  if (done < text.size()) add(done, text.size(), /*is_match=*/false);

  // Merges each piece into the one before it if joins(before, piece).
  const auto merge = [&](auto joins) {
    std::vector<Piece> merged;
    for (size_t i = 0; i < pieces.size(); ++i) {
      if (i > 0 && joins(pieces[i - 1], pieces[i])) {
        merged.back().end = pieces[i].end;
      } else {
        merged.push_back(pieces[i]);
      }
    }
    pieces = std::move(merged);
  };
  switch (stage.behavior) {
    case Behavior::kIsolated:
      break;
    case Behavior::kRemoved:
      std::erase_if(pieces, [](const Piece& piece) { return piece.is_match; });
      break;
    case Behavior::kMergedWithPrevious:
      merge([](const Piece& a, const Piece& b) { return !a.is_match && b.is_match; });
      break;
    case Behavior::kMergedWithNext:
      merge([](const Piece& a, const Piece& b) { return a.is_match && !b.is_match; });
      break;
    case Behavior::kContiguous:
      merge([](const Piece& a, const Piece& b) { return a.is_match == b.is_match; });
      break;
  }
  return pieces;
}

void PreTokenizer::Split(std::string_view text, FunctionRef<void(std::string_view)> word) const {
  Apply(0, text, word);
}

void PreTokenizer::Apply(size_t index, std::string_view text,
                         FunctionRef<void(std::string_view)> word) const {
  if (text.empty()) return;
  if (index == stages_.size()) return word(text);
  const Stage& stage = stages_[index];
  std::string prefixed;
  if (stage.add_prefix_space && text.front() != ' ') {
    prefixed.append(" ").append(text);
    text = prefixed;
  }
  if (!stage.regex) return Apply(index + 1, text, word);
  for (const Piece& piece : Pieces(stage, text)) {
    Apply(index + 1, text.substr(piece.begin, piece.end - piece.begin), word);
  }
}

}  // namespace fptq
