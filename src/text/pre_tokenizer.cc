#include "text/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "text/byte_level.h"
#include "text/normalizer.h"

namespace fptq {
namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string ReplaceSpaces(std::string_view text, const std::string& space) {
  std::string out;
  for (const char c : text) c == ' ' ? out += space : out += c;
  return out;
}

}  // namespace

// Older files say add_prefix_space.
std::string MetaspacePrefix(const JsonFields& spec) {
  std::string scheme =
      spec.StringOr("prepend_scheme", spec.BoolOr("add_prefix_space", true) ? "always" : "never");
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    throw Error("{}: Metaspace with the unknown prepend_scheme '{}'", spec.where(), scheme);
  }
  return scheme;
}

PreTokenizer::PreTokenizer(const Json& spec, const std::string& where) { Parse(spec, where); }

void PreTokenizer::Parse(const Json& spec, const std::string& where) {
  constexpr size_t kMaxStages = 64;
  const JsonFields fields(spec, where);
  const std::string type = fields.String("type");
  if (type == "Sequence") {
    for (const Json& member : fields.Array("pretokenizers")) Parse(member, where);
    return;
  }
  const bool cuts_alone = type == "Digits" || type == "Split" || type == "Punctuation";
  if (byte_level_ && !cuts_alone) {
    throw Error("{}: {} after ByteLevel is not supported", where, type);
  }
  if (stages_.size() == kMaxStages) throw Error("{}: more than {} stages", where, kMaxStages);
  Stage stage;
  stage.on_bytes = byte_level_;
  if (type == "ByteLevel") {
    byte_level_ = true;
    if (fields.BoolOr("add_prefix_space", true)) stage.prefix.assign(1, ' ');
    if (fields.BoolOr("use_regex", true)) {
      stage.regex.emplace(kGpt2Pattern, where, RegexSyntax::kOniguruma);
    }
  } else if (type == "Digits") {
    stage.regex.emplace(fields.BoolOr("individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)", where,
                        RegexSyntax::kOniguruma);
  } else if (type == "Split") {
    stage.regex.emplace(ParsePattern(fields), where, RegexSyntax::kOniguruma);
    stage.behavior = ParseBehavior(fields.String("behavior"), where);
    stage.invert = fields.BoolOr("invert", false);
  } else if (type == "Punctuation") {
    stage.regex.emplace(R"([\p{P}!-/:-@\[-`{-~])", where, RegexSyntax::kOniguruma);
    stage.behavior = ParseBehavior(fields.StringOr("behavior", "Isolated"), where);
  } else if (type == "WhitespaceSplit") {
    stage.regex.emplace(R"(\p{White_Space}+)", where, RegexSyntax::kOniguruma);
    stage.behavior = Behavior::kRemoved;
  } else if (type == "Metaspace") {
    stage = ParseMetaspace(fields);
  } else {
    throw Error(
        "{}: '{}' is not supported; known are Sequence, Split, Digits, Punctuation, "
        "WhitespaceSplit, Metaspace, ByteLevel",
        where, type);
  }
  stages_.push_back(std::move(stage));
}

PreTokenizer::Stage PreTokenizer::ParseMetaspace(const JsonFields& spec) {
  Stage stage;
  stage.space = spec.String("replacement");
  const int length = Utf8CharLength(stage.space);
  if (length == 0 || stage.space.size() != static_cast<size_t>(length)) {
    throw Error("{}: Metaspace: expected one character as the replacement, found '{}'",
                spec.where(), stage.space);
  }
  const std::string scheme = MetaspacePrefix(spec);
  if (scheme != "never") stage.prefix = stage.space;
  stage.prefix_at_start_only = scheme == "first";
  if (spec.BoolOr("split", true)) {
    stage.regex.emplace(Regex::Escape(stage.space), spec.where(), RegexSyntax::kOniguruma);
    stage.behavior = Behavior::kMergedWithNext;
  }
  return stage;
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

std::vector<PreTokenizer::Piece> PreTokenizer::BytePieces(const Stage& stage,
                                                          std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += ByteLevelCharacter(static_cast<uint8_t>(byte));
  std::vector<Piece> pieces = Pieces(stage, text);
  size_t at = 0, byte = 0;  // where the character of a byte begins in `text`
  const auto to_byte = [&](size_t end) {
    for (; at < end; ++byte) at += ByteLevelCharacter(static_cast<uint8_t>(bytes[byte])).size();
    return byte;
  };
  for (Piece& piece : pieces) piece = {to_byte(piece.begin), to_byte(piece.end), piece.is_match};
  return pieces;
}

void PreTokenizer::Split(std::string_view text, bool at_start,
                         FunctionRef<void(std::string_view)> word) const {
  Apply(0, text, at_start, word);
}

void PreTokenizer::Apply(size_t index, std::string_view text, bool at_start,
                         FunctionRef<void(std::string_view)> word) const {
  if (text.empty()) return;
  if (index == stages_.size()) return word(text);
  const Stage& stage = stages_[index];
  std::string changed;
  const auto change_to = [&](std::string to) {
    changed = std::move(to);
    text = changed;
  };
  if (!stage.space.empty()) change_to(ReplaceSpaces(text, stage.space));
  if (!text.starts_with(stage.prefix) && (at_start || !stage.prefix_at_start_only)) {
    change_to(fmt::format("{}{}", stage.prefix, text));
  }
  if (!stage.regex) return Apply(index + 1, text, at_start, word);
  for (const Piece& piece : stage.on_bytes ? BytePieces(stage, text) : Pieces(stage, text)) {
    Apply(index + 1, text.substr(piece.begin, piece.end - piece.begin),
          at_start && piece.begin == 0, word);
  }
}

}  // namespace fptq
