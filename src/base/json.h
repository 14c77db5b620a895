// JSON with errors that name the file and the field.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fptq {

// Objects keep the order of their fields, so that files we write are reproducible and readable.
using Json = nlohmann::ordered_json;

enum class DuplicateKeys { kLastCounts, kError };

// Parses `text`; `where` (a path, a flag) starts the message of the Error. Depth is bounded, so
// that a hostile file cannot exhaust the stack.
Json ParseJson(std::string_view text, std::string_view where,
               DuplicateKeys duplicates = DuplicateKeys::kLastCounts);

// The text of `json`, by lines with `indent` spaces a level from 0 on. Strings, which may be the
// names of files, stand there as UTF-8, with U+FFFD for what is ill-formed.
std::string DumpJson(const Json& json, int indent = -1);

// Typed access to the fields of an object. `where` names the object in errors, e.g.
// "DIR/config.json". The object and the name must outlive the reader.
class JsonFields {
 public:
  JsonFields(const Json& object, std::string where);

  const std::string& where() const { return where_; }
  bool Has(std::string_view name) const;           // present and not null
  bool IsNull(std::string_view name) const;        // present, but null
  const Json& Value(std::string_view name) const;  // of any type; Error if absent or null

  // An integer (not a fraction, not a string) within [min, max]; Error otherwise.
  int64_t Int(std::string_view name, int64_t min, int64_t max) const;
  int64_t IntOr(std::string_view name, int64_t otherwise, int64_t min, int64_t max) const;
  double Double(std::string_view name) const;  // finite
  double DoubleOr(std::string_view name, double otherwise) const;
  bool BoolOr(std::string_view name, bool otherwise) const;
  std::string String(std::string_view name) const;
  std::string StringOr(std::string_view name, std::string_view otherwise) const;
  const Json& Object(std::string_view name) const;
  const Json& Array(std::string_view name) const;

 private:
  const Json& object_;
  std::string where_;
};

}  // namespace fptq
