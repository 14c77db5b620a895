// The functions that templates find by name: range, dict, namespace, strftime_now, ...
#pragma once

#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/heap.h"

namespace fptq::jinja {

// `now`: what strftime_now formats.
std::vector<std::pair<std::string, Value>> MakeFunctions(Heap& heap, const std::tm& now);

// namespace.field = value
void SetField(Heap& heap, Namespace& fields, const std::string& name, const Value& value);

}  // namespace fptq::jinja
