#include <algorithm>

#include "text/jinja/characters.h"
#include "text/jinja/filters.h"
#include "text/jinja/format.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"
#include "text/jinja/text_ops.h"

namespace fptq::jinja {
namespace {

// The input as a string; marked as safe only if it was.
Value AsText(Heap& heap, const Value& input) {
  return input.AsString() != nullptr ? input : heap.MakeString(Str(heap, input));
}
Value Like(Heap& heap, const Value& string, Text text) {
  return heap.MakeString(std::move(text), string.AsString()->markup);
}

template <Text (*map)(TextView)>
Value MapAll(Heap& heap, const Value& input, Arguments& arguments) {
  arguments.Finish();
  const Value string = AsText(heap, input);
  heap.Work(ToText(string).size());
  return Like(heap, string, map(ToText(string)));
}

// Words begin after white space, hyphens and opening brackets.
Text Titled(TextView text) {
  const auto is_border = [](char32_t c) {
    return IsSpace(c) || TextView(U"-({[<").find(c) != TextView::npos;
  };
  Text out;
  while (!text.empty()) {
    const bool border = is_border(text[0]);
    const auto end = std::ranges::find_if(text, [&](char32_t c) { return is_border(c) != border; });
    const TextView item = text.substr(0, static_cast<size_t>(end - text.begin()));
    out += Upper(item.substr(0, 1));
    out += Lower(item.substr(1));
    text.remove_prefix(item.size());
  }
  return out;
}

Value TextOf(Heap& heap, const Value& input, Arguments& arguments) {
  arguments.Finish();
  return AsText(heap, input);
}

Value Trim(Heap& heap, const Value& input, Arguments& arguments) {
  const std::optional<Value> chars = arguments.Take("chars");
  arguments.Finish();
  const Value string = AsText(heap, input);
  const TextView text = ToText(string);
  if (!chars || chars->IsNone()) return Like(heap, string, Text(Strip(text)));
  heap.Work(text.size() + ToText(*chars).size());
  return Like(heap, string, Text(StripAny(text, ToText(*chars))));
}

Value Replace(Heap& heap, const Value& input, Arguments& arguments) {
  const Text old_part = Str(heap, arguments.Expect("old"));
  const Text new_part = Str(heap, arguments.Expect("new"));
  const std::optional<Value> count = arguments.Take("count");
  arguments.Finish();
  return heap.MakeString(ReplaceText(heap, Str(heap, input), old_part, new_part,
                                     !count || count->IsNone() ? -1 : ToInt(*count)));
}

Value Indent(Heap& heap, const Value& input, Arguments& arguments) {
  const Value width = arguments.Take("width").value_or(int64_t{4});
  const bool first = arguments.TakeBool(false, "first");
  const bool blank = arguments.TakeBool(false, "blank");
  arguments.Finish();
  const Text indention =
      width.AsString() != nullptr ? ToText(width) : Pad(heap, U"", ToInt(width), U' ', '<');
  const Text text = ToText(input) + U'\n';
  heap.Work(text.size());
  Text out;
  size_t number = 0;
  for (const TextView line : SplitLines(text)) {
    heap.CheckCharacters(out.size() + indention.size() + line.size());
    heap.Copy(indention.size());
    if (number > 0) out += U'\n';
    if (number == 0 ? first : blank || !line.empty()) out += indention;
    out += line;
    ++number;
  }
  return Like(heap, input, std::move(out));
}

Value Escape(Heap& heap, const Value& input, Arguments& arguments) {
  arguments.Finish();
  const Value string = AsText(heap, input);
  if (string.AsString()->markup) return string;
  return heap.MakeString(EscapeHtml(heap, ToText(string)), /*markup=*/true);
}

Value ForceEscape(Heap& heap, const Value& input, Arguments& arguments) {
  arguments.Finish();
  return heap.MakeString(EscapeHtml(heap, Str(heap, input)), /*markup=*/true);
}

Value Safe(Heap& heap, const Value& input, Arguments& arguments) {
  arguments.Finish();
  return heap.MakeString(Str(heap, input), /*markup=*/true);
}

Value CenterFilter(Heap& heap, const Value& input, Arguments& arguments) {
  const int64_t width = arguments.TakeInt(80, "width");
  arguments.Finish();
  const Value string = AsText(heap, input);
  return Like(heap, string, Center(heap, ToText(string), width, U' '));
}

Value Format(Heap& heap, const Value& input, Arguments& arguments) {
  const Value string = AsText(heap, input);
  if (arguments.keywords.empty()) {
    return FormatPercent(heap, string, heap.MakeTuple(arguments.positional));
  }
  if (!arguments.positional.empty()) throw Failure("format: expected only keywords or none");
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [name, value] : arguments.keywords) {
    items.emplace_back(heap.MakeString(name), value);
  }
  return FormatPercent(heap, string, heap.MakeDict(std::move(items)));
}

Value WordCount(Heap& heap, const Value& input, Arguments& arguments) {
  arguments.Finish();
  const Text text = Str(heap, input);
  heap.Work(text.size());
  int64_t count = 0;
  bool in_word = false;
  for (const char32_t c : text) {
    const bool is_word = IsAlphabetic(c) || IsNumeric(c) || CodePoint(c) == U'_';
    count += is_word && !in_word ? 1 : 0;
    in_word = is_word;
  }
  return count;
}

Value Truncate(Heap& heap, const Value& input, Arguments& arguments) {
  const int64_t length = arguments.TakeInt(255, "length");
  const bool kill_words = arguments.TakeBool(false, "killwords");
  const std::optional<Value> end_value = arguments.Take("end");
  const Text end = end_value ? ToText(*end_value) : Text(U"...");
  const int64_t leeway = arguments.TakeInt(5, "leeway");
  arguments.Finish();
  if (length < std::ssize(end) || leeway < 0) throw Failure("truncate: the length is too small");
  const Text& text = ToText(input);
  if (std::ssize(text) - length <= leeway) return input;
  TextView kept = TextView(text).substr(0, static_cast<size_t>(length) - end.size());
  if (!kill_words) kept = kept.substr(0, kept.rfind(U' '));
  return Like(heap, input, Text(kept) + end);
}

Value UrlEncode(Heap& heap, const Value& input, Arguments& arguments) {
  arguments.Finish();
  const Text text = Str(heap, input);
  heap.Work(text.size());
  heap.CheckCharacters(text.size() * 12);
  Text out;
  for (const char32_t c : text) {
    const char32_t code = CodePoint(c);
    const bool plain = code < 0x80 && (IsAlphabetic(c) || IsDecimal(c) ||
                                       TextView(U"_.-~/").find(c) != TextView::npos);
    if (plain) {
      out += c;
      continue;
    }
    std::string bytes;
    AppendUtf8(c, bytes);
    for (const char byte : bytes) {
      for (const char e : fmt::format("%{:02X}", static_cast<uint8_t>(byte))) {
        out += SameOrigin(static_cast<char32_t>(e), c);
      }
    }
  }
  return heap.MakeString(std::move(out));
}

Value ToJsonFilter(Heap& heap, const Value& input, Arguments& arguments) {
  JsonStyle style;
  style.ensure_ascii = arguments.TakeBool(false, "ensure_ascii");
  const Value indent = arguments.Take("indent").value_or(None{});
  const Value separators = arguments.Take("separators").value_or(None{});
  style.sort_keys = arguments.TakeBool(false, "sort_keys");
  arguments.Finish();
  if (indent.AsString() != nullptr) {
    style.indent = ToText(indent);
  } else if (!indent.IsNone()) {
    style.indent = Pad(heap, U"", ToInt(indent), U' ', '<');
  }
  style.item_separator = style.indent ? U"," : U", ";
  style.key_separator = U": ";
  if (!separators.IsNone()) {
    const std::vector<Value> two = Iterate(heap, separators);
    if (two.size() != 2) throw Failure("tojson: expected two separators, found {}", two.size());
    style.item_separator = ToText(two[0]);
    style.key_separator = ToText(two[1]);
  }
  return heap.MakeString(ToJson(heap, input, style));
}

struct Row {
  std::string_view name;
  FilterFunction function;
};
constexpr Row kFilters[] = {
    {"capitalize", MapAll<Capitalize>},
    {"center", CenterFilter},
    {"e", Escape},
    {"escape", Escape},
    {"forceescape", ForceEscape},
    {"format", Format},
    {"indent", Indent},
    {"lower", MapAll<Lower>},
    {"replace", Replace},
    {"safe", Safe},
    {"string", TextOf},
    {"title", MapAll<Titled>},
    {"tojson", ToJsonFilter},
    {"trim", Trim},
    {"truncate", Truncate},
    {"upper", MapAll<Upper>},
    {"urlencode", UrlEncode},
    {"wordcount", WordCount},
};

}  // namespace

FilterFunction FindTextFilter(std::string_view name) {
  const auto* row = std::ranges::find(kFilters, name, &Row::name);
  return row == std::end(kFilters) ? nullptr : row->function;
}

}  // namespace fptq::jinja
