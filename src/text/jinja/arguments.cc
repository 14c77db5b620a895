#include "text/jinja/arguments.h"

#include <algorithm>

#include "text/jinja/heap.h"

namespace fptq::jinja {

std::optional<Value> Arguments::Take(std::string_view name) {
  std::optional<Value> named = name.empty() ? std::nullopt : TakeKeyword(name);
  if (taken == positional.size()) return named;
  if (named) throw Failure("{}: '{}' is given twice", callee, name);
  return positional[taken++];
}

std::optional<Value> Arguments::TakeKeyword(std::string_view name) {
  const auto it =
      std::ranges::find_if(keywords, [&](const auto& keyword) { return keyword.first == name; });
  if (it == keywords.end()) return std::nullopt;
  Value value = std::move(it->second);
  keywords.erase(it);
  return value;
}

Value Arguments::Expect(std::string_view name) {
  std::optional<Value> value = Take(name);
  if (!value) {
    throw Failure("{}: an argument is missing{}{}", callee, name.empty() ? "" : ": ", name);
  }
  return *std::move(value);
}

int64_t Arguments::TakeInt(int64_t otherwise, std::string_view name) {
  const std::optional<Value> value = Take(name);
  return value ? ToInt(*value) : otherwise;
}

bool Arguments::TakeBool(bool otherwise, std::string_view name) {
  const std::optional<Value> value = Take(name);
  return value ? IsTrue(*value) : otherwise;
}

void Arguments::Finish() const {
  if (taken < positional.size()) {
    throw Failure("{}: expected at most {} arguments, found {}", callee, taken, positional.size());
  }
  if (!keywords.empty()) throw Failure("{}: unexpected argument", callee);
}

int64_t ToInt(const Value& value) {
  if (const bool* b = value.AsBool()) return *b ? 1 : 0;
  if (const int64_t* i = value.AsInt()) return *i;
  throw Failure("expected an integer, found '{}'", TypeName(value));
}

const Text& ToText(const Value& value) {
  if (const String* string = value.AsString()) return string->text;
  throw Failure("expected a string, found '{}'", TypeName(value));
}

}  // namespace fptq::jinja
