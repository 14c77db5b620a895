#include "text/normalizer.h"

#include <utility>

#include "base/error.h"
#include "text/unicode.h"

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
  Step step{};
  if (type == "NFC") {
    step.kind = Kind::kNfc;
  } else if (type == "Prepend") {
    step.kind = Kind::kPrepend;
    step.content = fields.String("prepend");
  } else if (type == "Replace") {
    step.kind = Kind::kReplace;
    step.pattern.emplace_back(ParsePattern(fields), where, RegexSyntax::kOniguruma);
    step.content = fields.String("content");
  } else {
    throw Error("{}: '{}' is not supported; known are Sequence, NFC, Prepend, Replace", where,
                type);
  }
  steps_.push_back(std::move(step));
}

std::string Normalizer::ApplyStep(const Step& step, std::string_view text, size_t max_bytes) {
  switch (step.kind) {
    case Kind::kNfc:
      return NormalizeNfc(text);
    case Kind::kPrepend:
      return text.empty() ? "" : step.content + std::string(text);
    case Kind::kReplace:
      return ReplaceAll(text, step.pattern.front(), step.content, max_bytes);
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
    // The parts between the marks, normalized one by one, must make the whole.
    std::string whole = ApplyStep(step, out, max_bytes), parts;
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
