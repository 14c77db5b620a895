// Values as text, as Python writes them.
#pragma once

#include <cstdint>
#include <string>

#include "text/jinja/heap.h"

namespace fptq::jinja {

// str(value)
Text Str(Heap& heap, const Value& value);
void AppendStr(Heap& heap, const Value& value, Text& out);
// repr(value)
void AppendRepr(Heap& heap, const Value& value, Text& out);
// The shortest digits that read back as the same number: 1.0, 1e+16, nan.
std::string FloatRepr(double value);

void AppendAscii(std::string_view ascii, Text& out);

// json.dumps(value, ...)
struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<Text> indent;  // of each level; none: all on one line
  Text item_separator;
  Text key_separator;
  bool sort_keys = false;
};
Text ToJson(Heap& heap, const Value& value, const JsonStyle& style);

// Text with the HTML characters &, <, >, ' and " escaped.
Text EscapeHtml(Heap& heap, TextView text);

}  // namespace fptq::jinja
