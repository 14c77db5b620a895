// Jinja's filters, with transformers' tojson.
#pragma once

#include <string_view>

#include "text/jinja/arguments.h"
#include "text/jinja/heap.h"

namespace fptq::jinja {

using FilterFunction = Value (*)(Heap& heap, const Value& input, Arguments& arguments);

// Null if there is none.
FilterFunction FindFilter(std::string_view name);

// The parts of the list.
FilterFunction FindTextFilter(std::string_view name);
FilterFunction FindSequenceFilter(std::string_view name);
FilterFunction FindNumberFilter(std::string_view name);

}  // namespace fptq::jinja
