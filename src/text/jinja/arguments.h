// What a function, method, filter or test is called with.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace fptq::jinja {

struct Arguments {
  std::string callee;  // for messages
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
  size_t taken = 0;  // of `positional`

  // The next parameter, in their order: by position or, if it has a name, by keyword; none if it is
  // not given.
  std::optional<Value> Take(std::string_view name = {});
  std::optional<Value> TakeKeyword(std::string_view name);
  Value Expect(std::string_view name = {});  // Failure if it is not given
  // Of these types; `otherwise` if not given.
  int64_t TakeInt(int64_t otherwise, std::string_view name = {});
  bool TakeBool(bool otherwise, std::string_view name = {});
  // Failure if more was given than was taken.
  void Finish() const;
};

// Failure unless it is a bool or an int.
int64_t ToInt(const Value& value);
// Failure unless it is a string.
const Text& ToText(const Value& value);

}  // namespace fptq::jinja
