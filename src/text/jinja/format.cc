#include "text/jinja/format.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "text/jinja/format_spec.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"

namespace fptq::jinja {
namespace {

// One "%" directive, after the percent sign.
class PercentFormatter {
 public:
  PercentFormatter(Heap& heap, TextView format, const Value& values, bool markup)
      : heap_(heap), reader_(format), values_(values), markup_(markup) {
    const Sequence* sequence = values.AsSequence();
    is_tuple_ = sequence != nullptr && sequence->kind == Sequence::Kind::kTuple;
  }

  Text Run() {
    Text out;
    while (!reader_.done()) {
      const char32_t c = reader_.Take();
      if (CodePoint(c) != U'%') {
        out += c;
      } else {
        const Text piece = Directive();
        heap_.CheckCharacters(out.size() + piece.size());
        out += piece;
      }
    }
    const bool all_taken =
        is_tuple_ ? next_ == values_.AsSequence()->items.size()
                  : next_ > 0 || values_.AsDict() != nullptr || values_.AsSequence() != nullptr;
    if (!all_taken) throw Failure("not all values are used by the format");
    return out;
  }

 private:
  Text Directive() {
    std::optional<Value> value;
    if (reader_.TakeIf('(')) {
      const TextView key = reader_.TakeUntil(")");
      reader_.Take();
      const Dict* dict = values_.AsDict();
      if (dict == nullptr) throw Failure("the format needs a mapping");
      const Value* item = dict->Find(heap_.MakeString(key));
      if (item == nullptr) throw Failure("the format names a key that is not there");
      value = *item;
      next_ = 1;
    }
    Spec spec;
    bool left = false, zero = false;
    while (reader_.IsOneOf("-+ #0")) {
      const char flag = Ascii(reader_.Take());
      left |= flag == '-';
      zero |= flag == '0';
      spec.alternate |= flag == '#';
      if (flag == '+' || (flag == ' ' && spec.sign != '+')) spec.sign = flag;
    }
    spec.width = reader_.TakeIf('*') ? ToInt(NextValue()) : reader_.TakeNumber();
    if (reader_.TakeIf('.')) {
      spec.precision = reader_.TakeIf('*') ? ToInt(NextValue()) : reader_.TakeNumber();
    }
    while (reader_.IsOneOf("hlL")) reader_.Take();
    spec.type = Ascii(reader_.Take());
    if (spec.type == '%') return Text(1, U'%');
    if (!value) value = NextValue();
    spec.align = left ? '<' : '>';
    if (zero && !left) {
      spec.align = '=';
      spec.fill = U'0';
    }
    return Convert(*value, spec);
  }

  Value NextValue() {
    if (!is_tuple_) {
      if (next_++ > 0) throw Failure("the format needs more values");
      return values_;
    }
    const auto& items = values_.AsSequence()->items;
    if (next_ == items.size()) throw Failure("the format needs more values");
    return items[next_++];
  }

  Text Convert(const Value& value, Spec spec) {
    if (spec.type == 's' || spec.type == 'r' || spec.type == 'a') {
      Text text;
      if (spec.type == 's') {
        text = Str(heap_, value);
      } else {
        AppendRepr(heap_, value, text);
      }
      if (markup_ && (value.AsString() == nullptr || !value.AsString()->markup)) {
        text = EscapeHtml(heap_, text);
      }
      if (spec.precision >= 0) text = text.substr(0, static_cast<size_t>(spec.precision));
      if (spec.align == '=') spec.align = '>';
      spec.fill = U' ';
      return Align(heap_, "", text, spec, '>');
    }
    if (spec.type == 'c' && value.AsString() != nullptr) {
      if (value.AsString()->text.size() != 1) throw Failure("%c needs one character");
      return Align(heap_, "", value.AsString()->text, spec, '>');
    }
    if (!AsNumber(value)) {
      throw Failure("%{} needs a number, not '{}'", spec.type, TypeName(value));
    }
    if (spec.type == 'i' || spec.type == 'u') spec.type = 'd';
    const bool integer = std::string_view("doxX").find(spec.type) != std::string_view::npos;
    if (!integer || !value.Is<double>()) {
      if (integer) spec.precision = -1;
      return FormatNumber(heap_, value, spec);
    }
    const double whole = std::trunc(*value.AsDouble());
    if (!(std::abs(whole) < 0x1p63) || spec.type != 'd')
      throw Failure("%{} needs an integer", spec.type);
    return FormatNumber(heap_, static_cast<int64_t>(whole), spec.precision < 0 ? spec : Spec{});
  }

  Heap& heap_;
  Reader reader_;
  const Value& values_;
  bool markup_;
  bool is_tuple_ = false;
  size_t next_ = 0;
};

class BracesFormatter {
 public:
  BracesFormatter(Heap& heap, Arguments& arguments, bool markup)
      : heap_(heap), arguments_(arguments), markup_(markup) {}

  Text Run(TextView format, int depth = 0) {
    if (depth > 1) throw Failure("the format nests too deep");
    Reader reader(format);
    Text out;
    while (!reader.done()) {
      const char32_t c = reader.Take();
      if (Ascii(c) == '}') {
        if (!reader.TakeIf('}')) throw Failure("a single '}}' in the format");
        out += c;
      } else if (Ascii(c) != '{' || reader.TakeIf('{')) {
        out += c;
      } else {
        const Text piece = Field(reader, depth);
        heap_.CheckCharacters(out.size() + piece.size());
        out += piece;
      }
    }
    return out;
  }

 private:
  // "name.attribute[item]!r:spec}"
  Text Field(Reader& reader, int depth) {
    heap_.Work(1);
    Value value = Lookup(reader);
    char conversion = 0;
    if (reader.TakeIf('!')) conversion = Ascii(reader.Take());
    Text spec;
    if (reader.TakeIf(':')) {
      int open = 0;
      while (open > 0 || !reader.Is('}')) {
        const char32_t c = reader.Take();
        open += Ascii(c) == '{' ? 1 : Ascii(c) == '}' ? -1 : 0;
        spec += c;
      }
      spec = Run(spec, depth + 1);
    }
    if (Ascii(reader.Take()) != '}') throw Failure("expected '}}' in the format");
    if (conversion == 'r' || conversion == 'a') {
      Text repr;
      AppendRepr(heap_, value, repr);
      value = heap_.MakeString(std::move(repr));
    } else if (conversion == 's') {
      value = heap_.MakeString(Str(heap_, value));
    } else if (conversion != 0) {
      throw Failure("the format has an unknown conversion '{}'", conversion);
    }
    const bool escape = markup_ && (value.AsString() == nullptr || !value.AsString()->markup);
    const Text text = FormatValue(heap_, value, spec);
    return escape ? EscapeHtml(heap_, text) : text;
  }

  Value Lookup(Reader& reader) {
    const std::string first = ToUtf8(reader.TakeUntil(".[!:}"));
    Value value = Argument(first);
    while (reader.Is('.') || reader.Is('[')) {
      if (reader.TakeIf('.')) {
        const std::string name = ToUtf8(reader.TakeUntil(".[!:}"));
        value = GetAttribute(heap_, value, name);
        if (value.IsUndefined()) value = Undefined{};  // it would keep the name
      } else {
        reader.Take();
        const Text key(reader.TakeUntil("]"));
        reader.Take();
        const bool digits = !key.empty() && std::ranges::all_of(key, [](char32_t c) {
          return Ascii(c) >= '0' && Ascii(c) <= '9';
        });
        Reader number(key);
        value = GetItem(heap_, value, digits ? Value(number.TakeNumber()) : heap_.MakeString(key));
      }
    }
    return value;
  }

  Value Argument(const std::string& name) {
    const bool digits = name.find_first_not_of("0123456789") == name.npos;
    if (!digits) {
      for (const auto& [keyword, value] : arguments_.keywords) {
        if (keyword == name) return value;
      }
      throw Failure("the format names an argument that is not given");
    }
    const Text number = FromUtf8(name);
    const size_t index = name.empty() ? next_++ : static_cast<size_t>(Reader(number).TakeNumber());
    if (index >= arguments_.positional.size()) throw Failure("the format needs more arguments");
    return arguments_.positional[index];
  }

  Heap& heap_;
  Arguments& arguments_;
  bool markup_;
  size_t next_ = 0;
};

}  // namespace

Value FormatPercent(Heap& heap, const Value& format, const Value& values) {
  const String& string = *format.AsString();
  heap.Work(string.text.size());
  return heap.MakeString(PercentFormatter(heap, string.text, values, string.markup).Run(),
                         string.markup);
}

Value FormatBraces(Heap& heap, const Value& format, Arguments& arguments) {
  const String& string = *format.AsString();
  heap.Work(string.text.size());
  return heap.MakeString(BracesFormatter(heap, arguments, string.markup).Run(string.text),
                         string.markup);
}

Text Center(Heap& heap, TextView text, int64_t width, char32_t fill) {
  const int64_t missing = std::max<int64_t>(width - std::ssize(text), 0);
  const int64_t left = missing / 2 + (missing & width & 1);
  return Pad(heap, Pad(heap, text, std::ssize(text) + left, fill, '>'), width, fill, '<');
}

Text Pad(Heap& heap, TextView text, int64_t width, char32_t fill, char align) {
  if (width <= std::ssize(text)) return Text(text);
  const auto missing = static_cast<size_t>(width - std::ssize(text));
  heap.CheckCharacters(static_cast<size_t>(width));
  const size_t left = align == '<' ? 0 : align == '>' ? missing : missing / 2;
  return Text(left, fill).append(text).append(missing - left, fill);
}

}  // namespace fptq::jinja
