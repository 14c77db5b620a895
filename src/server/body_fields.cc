#include "server/body_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/utf8.h"

namespace fptq {
namespace {

// A value as it may stand in a message: short, and no half characters.
std::string Excerpt(const Json& value) {
  constexpr size_t kMaxLength = 60;
  if (value.is_structured()) {
    return fmt::format("an {}{}", value.empty() ? "empty " : "", value.type_name());
  }
  if (value.is_string() && value.get_ref<const std::string&>().size() > kMaxLength) {
    return fmt::format("a string of {} bytes", value.get_ref<const std::string&>().size());
  }
  return DumpJson(value);
}

const KnownField* FindKnown(std::span<const std::span<const KnownField>> tables,
                            std::string_view name) {
  for (const auto& table : tables) {
    const auto field = std::ranges::find(table, name, &KnownField::name);
    if (field != table.end()) return &*field;
  }
  return nullptr;
}

// What clients send to say that they do not want the field.
bool SaysNothing(const Json& value, double neutral) {
  return value.is_null() || value == false || (value.is_structured() && value.empty()) ||
         (value.is_string() && value.get_ref<const std::string&>().empty()) ||
         (value.is_number() && (value == 0 || value.get<double>() == neutral));
}

}  // namespace

BodyFields::BodyFields(const Json& body, std::span<const std::span<const KnownField>> tables)
    : body_(body) {
  if (!body.is_object()) {
    throw ApiError(400, fmt::format("the body: expected a JSON object, found {}", Excerpt(body)));
  }
  for (const auto& [name, value] : body.items()) {
    const KnownField* known = FindKnown(tables, name);
    if (known == nullptr) {
      const std::string shown = name.size() <= 60 ? name : name.substr(0, 60) + "...";
      const std::string text = ReplaceIllFormedUtf8(shown);
      throw ApiError(400, fmt::format("unknown field '{}'", text), text, "unknown_parameter");
    }
    if (!known->refusal.empty() && !SaysNothing(value, known->neutral)) {
      throw ApiError(400, fmt::format("'{}' is not supported: {}", name, known->refusal), name,
                     "unsupported_parameter");
    }
  }
}

const Json* BodyFields::Find(std::string_view name) const {
  const auto it = body_.find(name);
  return it == body_.end() || it->is_null() ? nullptr : &*it;
}

void BodyFields::Refuse(std::string_view name, std::string_view expected, const Json& found) {
  throw ApiError(400, fmt::format("'{}': expected {}, found {}", name, expected, Excerpt(found)),
                 std::string(name), "invalid_value");
}

bool BodyFields::BoolOr(std::string_view name, bool otherwise) const {
  const Json* value = Find(name);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) Refuse(name, "true or false", *value);
  return value->get<bool>();
}

int64_t BodyFields::IntOr(std::string_view name, int64_t otherwise, int64_t min,
                          int64_t max) const {
  const Json* value = Find(name);
  return value == nullptr ? otherwise : ToInt(*value, name, min, max);
}

double BodyFields::NumberOr(std::string_view name, double otherwise, double min, double max) const {
  const Json* value = Find(name);
  if (value == nullptr) return otherwise;
  const double number = value->is_number() ? value->get<double>() : NAN;
  if (!(number >= min && number <= max)) {
    Refuse(name, fmt::format("a number from {} to {}", min, max), *value);
  }
  return number;
}

std::string BodyFields::StringOr(std::string_view name, std::string_view otherwise) const {
  const Json* value = Find(name);
  if (value == nullptr) return std::string(otherwise);
  if (!value->is_string()) Refuse(name, "a string", *value);
  return value->get<std::string>();
}

const Json* BodyFields::Array(std::string_view name) const {
  const Json* value = Find(name);
  if (value != nullptr && !value->is_array()) Refuse(name, "an array", *value);
  return value;
}

const Json* BodyFields::Object(std::string_view name) const {
  const Json* value = Find(name);
  if (value != nullptr && !value->is_object()) Refuse(name, "an object", *value);
  return value;
}

int64_t ToInt(const Json& value, std::string_view name, int64_t min, int64_t max) {
  // Beyond 2^53 a double is no longer the number that was written; no field goes that far.
  constexpr double kExact = 9007199254740992.0;
  bool fits = false;
  int64_t number = 0;
  if (value.is_number_unsigned()) {
    fits = std::in_range<int64_t>(value.get<uint64_t>());
    number = fits ? value.get<int64_t>() : 0;
  } else if (value.is_number_integer()) {
    fits = true;
    number = value.get<int64_t>();
  } else if (value.is_number_float()) {
    const double real = value.get<double>();
    fits = std::abs(real) <= kExact && std::trunc(real) == real;
    number = fits ? static_cast<int64_t>(real) : 0;
  }
  if (!fits || number < min || number > max) {
    BodyFields::Refuse(name, fmt::format("an integer from {} to {}", min, max), value);
  }
  return number;
}

Json ParseBody(std::string_view body) try {
  return ParseJson(body, "the body");
} catch (const ApiError&) {
  throw;
} catch (const Error& e) {
  throw ApiError(400, e.what(), "", "invalid_json");
}

}  // namespace fptq
