// The methods that Python's objects have.
#pragma once

#include <optional>
#include <string_view>

#include "text/jinja/arguments.h"
#include "text/jinja/heap.h"

namespace fptq::jinja {

// object.name, bound to the object; none if its type has no such method. Methods that change a list
// or dict are Undefined: templates may not.
std::optional<Value> FindMethod(Heap& heap, const Value& object, std::string_view name);

// A method of a type, called with its object and what stands in the parentheses.
using Method = Value (*)(Heap& heap, const Value& self, Arguments& arguments);
// Of strings; null if there is none.
Method FindStringMethod(std::string_view name);

}  // namespace fptq::jinja
