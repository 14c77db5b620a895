#include "text/jinja/printing.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "text/jinja/characters.h"
#include "text/jinja/operators.h"

namespace fptq::jinja {
namespace {

// A character that is not printed as it is: \n, \x1b, \u200b, \U000e0001.
void AppendEscaped(char32_t c, Text& out) {
  const char32_t code = CodePoint(c);
  const std::string escape = code == U'\n'    ? "\\n"
                             : code == U'\r'  ? "\\r"
                             : code == U'\t'  ? "\\t"
                             : code < 0x100   ? fmt::format("\\x{:02x}", uint32_t{code})
                             : code < 0x10000 ? fmt::format("\\u{:04x}", uint32_t{code})
                                              : fmt::format("\\U{:08x}", uint32_t{code});
  for (const char e : escape) out += SameOrigin(static_cast<char32_t>(e), c);
}

void AppendStringRepr(Heap& heap, TextView text, Text& out) {
  heap.Work(text.size());
  heap.CheckCharacters(out.size() + text.size() * 2);
  const bool double_quoted = text.find(U'\'') != text.npos && text.find(U'"') == text.npos;
  const char32_t quote = double_quoted ? U'"' : U'\'';
  out += quote;
  for (const char32_t c : text) {
    if (CodePoint(c) == quote || CodePoint(c) == U'\\') {
      out += SameOrigin(U'\\', c);
      out += c;
    } else if (IsPrintable(c)) {
      out += c;
    } else {
      AppendEscaped(c, out);
    }
  }
  out += quote;
}

void AppendItems(Heap& heap, const std::vector<Value>& items, Text& out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) AppendAscii(", ", out);
    AppendRepr(heap, items[i], out);
  }
}

void AppendSequence(Heap& heap, const Sequence& sequence, Text& out) {
  switch (sequence.kind) {
    case Sequence::Kind::kList:
      out += U'[';
      AppendItems(heap, sequence.items, out);
      out += U']';
      return;
    case Sequence::Kind::kTuple:
      out += U'(';
      AppendItems(heap, sequence.items, out);
      if (sequence.items.size() == 1) out += U',';
      out += U')';
      return;
    case Sequence::Kind::kIterator:
      return AppendAscii("<generator object>", out);
    case Sequence::Kind::kView:
      AppendAscii(sequence.label + "([", out);
      AppendItems(heap, sequence.items, out);
      AppendAscii("])", out);
      return;
    case Sequence::Kind::kRange:
      return AppendAscii(sequence.label, out);
  }
}

void AppendDict(Heap& heap, const Dict& dict, Text& out) {
  out += U'{';
  for (size_t i = 0; i < dict.items.size(); ++i) {
    if (i > 0) AppendAscii(", ", out);
    AppendRepr(heap, dict.items[i].first, out);
    AppendAscii(": ", out);
    AppendRepr(heap, dict.items[i].second, out);
  }
  out += U'}';
}

class JsonWriter {
 public:
  JsonWriter(Heap& heap, const JsonStyle& style) : heap_(heap), style_(style) {}

  Text Finish() { return std::move(out_); }

  void Write(const Value& value) {
    heap_.Work(1);
    heap_.CheckCharacters(out_.size());
    if (const String* string = value.AsString()) return WriteString(string->text);
    if (const Dict* dict = value.AsDict()) return WriteDict(*dict);
    if (const Sequence* sequence = value.AsSequence();
        sequence != nullptr &&
        (sequence->kind == Sequence::Kind::kList || sequence->kind == Sequence::Kind::kTuple)) {
      return WriteArray(sequence->items);
    }
    AppendAscii(Scalar(value), out_);
  }

 private:
  // None, a bool or a number.
  static std::string Scalar(const Value& value) {
    if (value.IsNone()) return "null";
    if (const bool* b = value.AsBool()) return *b ? "true" : "false";
    if (const int64_t* i = value.AsInt()) return std::to_string(*i);
    if (const double* d = value.AsDouble()) {
      if (std::isnan(*d)) return "NaN";
      if (std::isinf(*d)) return *d > 0 ? "Infinity" : "-Infinity";
      return FloatRepr(*d);
    }
    throw Failure("tojson: a value of the type '{}' cannot be written as JSON", TypeName(value));
  }

  void WriteString(TextView text) {
    heap_.Work(text.size());
    heap_.CheckCharacters(out_.size() + text.size() * 2);
    out_ += U'"';
    for (const char32_t c : text) WriteCharacter(c);
    out_ += U'"';
  }

  void WriteCharacter(char32_t c) {
    constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
    constexpr std::string_view kLetters = "\"\\nrtfb";
    const char32_t code = CodePoint(c);
    const size_t escape = code < 0x80 ? kEscaped.find(static_cast<char>(code)) : kEscaped.npos;
    if (escape != kEscaped.npos) {
      out_ += SameOrigin(U'\\', c);
      out_ += SameOrigin(static_cast<char32_t>(kLetters[escape]), c);
    } else if (code >= 0x20 && (code < 0x7f || !style_.ensure_ascii)) {
      out_ += c;
    } else if (code == 0x7f) {
      out_ += c;
    } else if (code < 0x10000) {
      WriteUnit(code, c);
    } else {
      WriteUnit(0xd800 + ((code - 0x10000) >> 10), c);
      WriteUnit(0xdc00 + ((code - 0x10000) & 0x3ff), c);
    }
  }

  void WriteUnit(char32_t unit, char32_t like) {
    for (const char e : fmt::format("\\u{:04x}", uint32_t{unit})) {
      out_ += SameOrigin(static_cast<char32_t>(e), like);
    }
  }

  void WriteArray(const std::vector<Value>& items) {
    if (items.empty()) return AppendAscii("[]", out_);
    out_ += U'[';
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      Separate(i == 0);
      Write(items[i]);
    }
    --level_;
    NewLine();
    out_ += U']';
  }

  void WriteDict(const Dict& dict) {
    if (dict.items.empty()) return AppendAscii("{}", out_);
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.sort_keys) {
      std::ranges::stable_sort(
          items, [&](const auto* a, const auto* b) { return IsLess(heap_, a->first, b->first); });
    }
    out_ += U'{';
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      Separate(i == 0);
      const Value& key = items[i]->first;
      if (const String* string = key.AsString()) {
        WriteString(string->text);
      } else {
        out_ += U'"';
        AppendAscii(Scalar(key), out_);
        out_ += U'"';
      }
      out_ += style_.key_separator;
      Write(items[i]->second);
    }
    --level_;
    NewLine();
    out_ += U'}';
  }

  void Separate(bool is_first) {
    if (!is_first) out_ += style_.item_separator;
    NewLine();
  }
  void NewLine() {
    if (!style_.indent) return;
    heap_.CheckCharacters(out_.size() + static_cast<size_t>(level_) * style_.indent->size());
    out_ += U'\n';
    for (int i = 0; i < level_; ++i) out_ += *style_.indent;
  }

  Heap& heap_;
  const JsonStyle& style_;
  Text out_;
  int level_ = 0;
};

}  // namespace

void AppendAscii(std::string_view ascii, Text& out) {
  for (const char c : ascii) out += static_cast<char32_t>(c);
}

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::array<char, 32> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                          std::chars_format::scientific);
  const std::string_view scientific(buffer.data(), static_cast<size_t>(end - buffer.data()));
  const size_t e = scientific.find('e');
  const int exponent = std::atoi(std::string(scientific.substr(e + 1)).c_str());
  if (exponent < -4 || exponent >= 16) return std::string(scientific);
  std::array<char, 64> fixed;
  const auto [fixed_end, fixed_error] =
      std::to_chars(fixed.data(), fixed.data() + fixed.size(), value, std::chars_format::fixed);
  std::string text(fixed.data(), fixed_end);
  return text.find('.') == text.npos ? text + ".0" : text;
}

void AppendRepr(Heap& heap, const Value& value, Text& out) {
  heap.Work(1);
  heap.CheckCharacters(out.size());
  if (const String* string = value.AsString()) {
    if (string->markup) AppendAscii("Markup(", out);
    AppendStringRepr(heap, string->text, out);
    if (string->markup) AppendAscii(")", out);
  } else if (value.IsUndefined()) {
    AppendAscii("Undefined", out);
  } else {
    AppendStr(heap, value, out);
  }
}

void AppendStr(Heap& heap, const Value& value, Text& out) {
  if (const String* string = value.AsString()) {
    heap.Copy(string->text.size());
    heap.CheckCharacters(out.size() + string->text.size());
    out += string->text;
  } else if (const Sequence* sequence = value.AsSequence()) {
    AppendSequence(heap, *sequence, out);
  } else if (const Dict* dict = value.AsDict()) {
    AppendDict(heap, *dict, out);
  } else if (value.IsNone()) {
    AppendAscii("None", out);
  } else if (const bool* b = value.AsBool()) {
    AppendAscii(*b ? "True" : "False", out);
  } else if (const int64_t* i = value.AsInt()) {
    AppendAscii(std::to_string(*i), out);
  } else if (const double* d = value.AsDouble()) {
    AppendAscii(FloatRepr(*d), out);
  } else if (const Callable* callable = value.AsCallable()) {
    out += FromUtf8("<function " + callable->name + ">");
  } else if (value.AsNamespace() != nullptr) {
    AppendAscii("<Namespace>", out);
  } else if (value.AsNative() != nullptr) {
    AppendAscii("<object>", out);
  }
}

Text Str(Heap& heap, const Value& value) {
  Text out;
  AppendStr(heap, value, out);
  return out;
}

Text ToJson(Heap& heap, const Value& value, const JsonStyle& style) {
  JsonWriter writer(heap, style);
  writer.Write(value);
  return writer.Finish();
}

Text EscapeHtml(Heap& heap, TextView text) {
  heap.Work(text.size());
  heap.CheckCharacters(text.size() * 5);
  Text out;
  for (const char32_t c : text) {
    const char* entity = nullptr;
    switch (CodePoint(c)) {
      case U'&':
        entity = "&amp;";
        break;
      case U'<':
        entity = "&lt;";
        break;
      case U'>':
        entity = "&gt;";
        break;
      case U'\'':
        entity = "&#39;";
        break;
      case U'"':
        entity = "&#34;";
        break;
      default:
        out += c;
    }
    for (; entity != nullptr && *entity != '\0'; ++entity) {
      out += SameOrigin(static_cast<char32_t>(*entity), c);
    }
  }
  return out;
}

}  // namespace fptq::jinja
