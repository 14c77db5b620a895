// Jinja's tests: "value is NAME".
#pragma once

#include <string_view>

#include "text/jinja/arguments.h"
#include "text/jinja/heap.h"

namespace fptq::jinja {

using TestFunction = bool (*)(Heap& heap, const Value& value, Arguments& arguments);

// Null if there is none.
TestFunction FindTest(std::string_view name);

}  // namespace fptq::jinja
