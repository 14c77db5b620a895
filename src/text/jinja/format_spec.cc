#include "text/jinja/format_spec.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "text/jinja/arguments.h"
#include "text/jinja/format.h"
#include "text/jinja/printing.h"

namespace fptq::jinja {
namespace {

constexpr int64_t kMaxPrecision = 1000;

Spec ParseSpec(TextView text) {
  Reader reader(text);
  Spec spec;
  if (reader.IsOneOf("<>^=", 1)) spec.fill = reader.Take();
  if (reader.IsOneOf("<>^=")) spec.align = Ascii(reader.Take());
  if (reader.IsOneOf("+- ")) spec.sign = Ascii(reader.Take());
  spec.alternate = reader.TakeIf('#');
  if (reader.Is('0')) {
    reader.Take();
    if (spec.align == 0) {
      spec.fill = U'0';
      spec.align = '=';
    }
  }
  spec.width = reader.TakeNumber();
  if (reader.IsOneOf(",_")) spec.grouping = Ascii(reader.Take());
  if (reader.TakeIf('.')) {
    if (!reader.IsDigit()) throw Failure("the format specification has no precision");
    spec.precision = reader.TakeNumber();
  }
  if (!reader.done()) spec.type = Ascii(reader.Take());
  if (!reader.done()) throw Failure("the format specification is invalid");
  return spec;
}

// Separators between groups of digits in front of a fraction or exponent.
std::string Group(std::string digits, char separator, size_t size) {
  size_t end = digits.find_first_not_of("0123456789abcdefABCDEF");
  if (end == digits.npos) end = digits.size();
  for (size_t i = end; i > size; i -= size) digits.insert(i - size, 1, separator);
  return digits;
}

std::string Digits(uint64_t value, const Spec& spec) {
  switch (spec.type) {
    case 'x':
      return fmt::format("{:x}", value);
    case 'X':
      return fmt::format("{:X}", value);
    case 'o':
      return fmt::format("{:o}", value);
    case 'b':
      return fmt::format("{:b}", value);
    default:
      return fmt::format("{}", value);
  }
}

std::string Prefix(const Spec& spec) {
  if (!spec.alternate) return "";
  switch (spec.type) {
    case 'x':
    case 'X':
    case 'o':
    case 'b':
      return std::string("0") + spec.type;
    default:
      return "";
  }
}

std::string FloatDigits(double value, const Spec& spec) {
  const int precision = static_cast<int>(std::min(spec.precision, kMaxPrecision));
  const auto with = [&](int otherwise) { return precision < 0 ? otherwise : precision; };
  if (spec.precision > kMaxPrecision) throw Failure("a precision is beyond {}", kMaxPrecision);
  switch (spec.type) {
    case 'e':
      return fmt::format("{:.{}e}", value, with(6));
    case 'E':
      return fmt::format("{:.{}E}", value, with(6));
    case 'f':
    case 'F':
      return fmt::format("{:.{}f}", value, with(6));
    case 'g':
    case 'n':
      return fmt::format("{:.{}g}", value, with(6));
    case 'G':
      return fmt::format("{:.{}G}", value, with(6));
    case '%':
      return fmt::format("{:.{}f}%", value * 100, with(6));
    case 0: {
      if (precision < 0) return FloatRepr(value);
      std::string text = fmt::format("{:.{}g}", value, std::max(precision, 1));
      if (text.find_first_of(".en") == text.npos) text += ".0";
      return text;
    }
    default:
      throw Failure("format code '{}' is not for numbers", spec.type);
  }
}

}  // namespace

Text Align(Heap& heap, std::string_view sign, TextView body, const Spec& spec, char align) {
  Text text;
  AppendAscii(sign, text);
  text += body;
  if (spec.align != 0) align = spec.align;
  if (align != '=') return Pad(heap, text, spec.width, spec.fill, align);
  const Text padded = Pad(heap, body, spec.width - std::ssize(sign), spec.fill, '>');
  text.clear();
  AppendAscii(sign, text);
  return text + padded;
}

Text FormatNumber(Heap& heap, const Value& value, Spec spec) {
  const bool real =
      value.Is<double>() || std::string_view("eEfFgG%").find(spec.type) != std::string_view::npos;
  bool negative = false;
  std::string digits, prefix;
  if (real && spec.type != 0) {
    const auto number = static_cast<double>(*AsNumber(value));
    negative = std::signbit(number) && !std::isnan(number);
    digits = FloatDigits(std::abs(number), spec);
  } else if (real) {
    negative = std::signbit(*value.AsDouble()) && !std::isnan(*value.AsDouble());
    digits = FloatDigits(std::abs(*value.AsDouble()), spec);
  } else if (spec.type == 'c') {
    const int64_t code = ToInt(value);
    if (code < 0 || code > 0x10ffff) throw Failure("{} is no character", code);
    return Align(heap, "", Text(1, static_cast<char32_t>(code)), spec, '<');
  } else {
    if (spec.precision >= 0) throw Failure("an integer takes no precision");
    if (std::string_view("\0dxXobn", 7).find(spec.type) == std::string_view::npos) {
      throw Failure("format code '{}' is not for integers", spec.type);
    }
    const int64_t number = ToInt(value);
    negative = number < 0;
    digits = Digits(
        negative ? uint64_t{0} - static_cast<uint64_t>(number) : static_cast<uint64_t>(number),
        spec);
    prefix = Prefix(spec);
  }
  if (spec.grouping != 0) {
    const bool decimal = std::string_view("xXob").find(spec.type) == std::string_view::npos;
    digits = Group(std::move(digits), spec.grouping, decimal ? 3 : 4);
  }
  const std::string sign = (negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign));
  Text body;
  AppendAscii(digits, body);
  return Align(heap, sign + prefix, body, spec, '>');
}

// format(value, spec)
Text FormatValue(Heap& heap, const Value& value, TextView spec_text) {
  if (spec_text.empty()) return Str(heap, value);
  const Spec spec = ParseSpec(spec_text);
  if (AsNumber(value)) return FormatNumber(heap, value, spec);
  if (value.AsString() == nullptr) {
    throw Failure("a value of the type '{}' takes no format specification", TypeName(value));
  }
  if ((spec.type != 0 && spec.type != 's') || spec.align == '=' || spec.grouping != 0) {
    throw Failure("the format specification is not for strings");
  }
  Text text = Str(heap, value);
  if (spec.precision >= 0) text = text.substr(0, static_cast<size_t>(spec.precision));
  return Align(heap, "", text, spec, '<');
}

}  // namespace fptq::jinja
