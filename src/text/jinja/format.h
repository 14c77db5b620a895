// Formats values by a description: format % values, "{}".format(values).
#pragma once

#include "text/jinja/arguments.h"
#include "text/jinja/heap.h"

namespace fptq::jinja {

// format % values
Value FormatPercent(Heap& heap, const Value& format, const Value& values);
// format.format(...)
Value FormatBraces(Heap& heap, const Value& format, Arguments& arguments);

// `text` filled up to `width` characters. `align` is '<', '>' or '^'.
Text Pad(Heap& heap, TextView text, int64_t width, char32_t fill, char align);
// str.center, which rounds the other way than '^'.
Text Center(Heap& heap, TextView text, int64_t width, char32_t fill);

}  // namespace fptq::jinja
