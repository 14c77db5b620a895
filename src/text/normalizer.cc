#include "text/normalizer.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace fptq {
namespace {

constexpr size_t kMaxSteps = 64;

// Error if there would be more than `max_bytes`.
std::string ReplaceAll(std::string_view text, const Regex& pattern, const std::string& content,
                       size_t max_bytes) {
  std::string out;
  size_t done = 0;
  pattern.FindAll(text, [&](size_t begin, size_t end) {
    out.append(text.substr(done, begin - done)).append(content);
    done = end;
    if (out.size() > max_bytes) {
      throw Error("normalizer: expected at most {} bytes from this text", max_bytes);
    }
  });
  return out.append(text.substr(done));
}

// Steps that lengthen the text multiply; no real one makes it some times longer.
size_t MaxBytes(std::string_view text) { return 16 * text.size() + (size_t{1} << 16); }

}  // namespace

std::string ParsePattern(const JsonFields& spec) {
  const JsonFields pattern(spec.Object("pattern"), spec.where() + ": pattern");
  return pattern.Has("Regex") ? pattern.String("Regex") : Regex::Escape(pattern.String("String"));
}

Normalizer::Normalizer(const Json& spec, const std::string& where) { Parse(spec, where); }

void Normalizer::Parse(const Json& spec, const std::string& where) {
  const JsonFields fields(spec, where);
  const std::string type = fields.String("type");
  if (type == "Sequence") {
    for (const Json& member : fields.Array("normalizers")) Parse(member, where);
    return;
  }
  if (steps_.size() == kMaxSteps) throw Error("{}: more than {} steps", where, kMaxSteps);
  steps_.push_back(ParseStep(fields));
}

Normalizer::Step Normalizer::ParseStep(const JsonFields& spec) {
  constexpr std::pair<std::string_view, NormalForm> kForms[] = {{"NFC", NormalForm::kC},
                                                                {"NFD", NormalForm::kD},
                                                                {"NFKC", NormalForm::kKC},
                                                                {"NFKD", NormalForm::kKD}};
  const std::string type = spec.String("type");
  for (const auto& [name, form] : kForms) {
    if (type == name) return {.kind = Kind::kForm, .form = form};
  }
  if (type == "Precompiled") {
    const std::string bytes = DecodeBase64(spec.String("precompiled_charsmap"), spec.where());
    return {.kind = Kind::kCharacterMap, .map = CharacterMap(bytes, spec.where())};
  }
  if (type == "Strip") {
    return {.kind = Kind::kStrip,
            .strip_left = spec.BoolOr("strip_left", true),
            .strip_right = spec.BoolOr("strip_right", true)};
  }
  if (type == "Prepend") return {.kind = Kind::kPrepend, .content = spec.String("prepend")};
  if (type == "Replace") {
    return {.kind = Kind::kReplace,
            .pattern = Regex(ParsePattern(spec), spec.where(), RegexSyntax::kOniguruma),
            .content = spec.String("content")};
  }
  throw Error(
      "{}: '{}' is not supported; known are Sequence, NFC, NFD, NFKC, NFKD, Precompiled, Strip, "
      "Prepend, Replace",
      spec.where(), type);
}

std::string Normalizer::ApplyStep(const Step& step, std::string_view text, size_t max_bytes) {
  switch (step.kind) {
    case Kind::kForm:
      return Normalize(step.form, text);
    case Kind::kCharacterMap:
      return step.map->Apply(text, max_bytes);
    case Kind::kStrip:
      if (step.strip_left) text.remove_prefix(LeadingWhitespace(text));
      if (step.strip_right) text.remove_suffix(TrailingWhitespace(text));
      return std::string(text);
    case Kind::kPrepend:
      return text.empty() ? "" : step.content + std::string(text);
    case Kind::kReplace:
      return ReplaceAll(text, *step.pattern, step.content, max_bytes);
  }
  return {};
}

std::string Normalizer::Apply(std::string_view text) const {
  const size_t max_bytes = MaxBytes(text);
  std::string out(text);
  for (const Step& step : steps_) out = ApplyStep(step, out, max_bytes);
  return out;
}

std::optional<std::string> Normalizer::Apply(std::string_view text, std::span<size_t> marks) const {
  const size_t max_bytes = MaxBytes(text);
  std::string out(text);
  for (const Step& step : steps_) {
    std::string whole = ApplyStep(step, out, max_bytes), parts;
    if (step.kind == Kind::kStrip) {
      const size_t left = step.strip_left ? LeadingWhitespace(out) : 0;
      for (size_t& mark : marks) mark = std::min(mark - std::min(mark, left), whole.size());
      out = std::move(whole);
      continue;
    }
    // The parts between the marks, normalized one by one, must make the whole.
    size_t begin = 0;
    for (size_t& mark : marks) {
      const size_t end = mark;
      std::string part =
          ApplyStep(step, std::string_view(out).substr(begin, end - begin), max_bytes);
      // Only the first of them has nothing before it.
      if (step.kind == Kind::kPrepend && begin > 0) part.erase(0, step.content.size());
      parts += part;
      mark = parts.size();
      begin = end;
    }
    if (parts != whole) return std::nullopt;
    out = std::move(whole);
  }
  return out;
}

}  // namespace fptq
