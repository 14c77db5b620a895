// Typed access to the fields of a request's body. A field that is null counts as absent.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "server/api_error.h"

namespace fptq {

// A request has fields of this kind.
struct KnownField {
  std::string_view name;
  // Why it can have no other value than its default, if that is so: such a field changes the
  // answer, and leaving it out in silence would give a wrong one.
  std::string_view refusal = {};
  double neutral = 0;  // a number that asks for nothing, too
};

class BodyFields {
 public:
  // Error 400 if `body` is not an object, or has a field that none of `tables` knows. `body` must
  // outlive the reader.
  BodyFields(const Json& body, std::span<const std::span<const KnownField>> tables);

  bool Has(std::string_view name) const { return Find(name) != nullptr; }
  const Json* Find(std::string_view name) const;  // null: absent

  // Error 400 naming the field if it is there and is not of the type, or not within [min, max].
  bool BoolOr(std::string_view name, bool otherwise) const;
  int64_t IntOr(std::string_view name, int64_t otherwise, int64_t min, int64_t max) const;
  double NumberOr(std::string_view name, double otherwise, double min, double max) const;
  std::string StringOr(std::string_view name, std::string_view otherwise) const;
  // An array or object; null if it is absent.
  const Json* Array(std::string_view name) const;
  const Json* Object(std::string_view name) const;

  [[noreturn]] static void Refuse(std::string_view name, std::string_view expected,
                                  const Json& found);

 private:
  const Json& body_;
};

// An integer, also if it is written as 16.0. Error 400 naming `name`.
int64_t ToInt(const Json& value, std::string_view name, int64_t min, int64_t max);

// The body as JSON. Error 400 if it is none; deep nesting is refused, too.
Json ParseBody(std::string_view body);

}  // namespace fptq
