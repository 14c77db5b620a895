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

std::string Normalizer::Apply(std::string_view text) const {
  // Steps that lengthen the text multiply; no real one makes it some times longer.
  const size_t max_bytes = 16 * text.size() + (size_t{1} << 16);
  std::string out(text);
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Kind::kNfc:
        out = NormalizeNfc(out);
        break;
      case Kind::kPrepend:
        if (!out.empty()) out.insert(0, step.content);
        break;
      case Kind::kReplace:
        out = ReplaceAll(out, step.pattern.front(), step.content, max_bytes);
        break;
    }
  }
  return out;
}

}  // namespace fptq
