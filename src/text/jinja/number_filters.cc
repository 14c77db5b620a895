#include <algorithm>
#include <cmath>

#include "text/jinja/filters.h"
#include "text/jinja/numbers.h"
#include "text/jinja/operators.h"

namespace fptq::jinja {
namespace {

Value Int(Heap&, const Value& input, Arguments& arguments) {
  const Value otherwise = arguments.Take("default").value_or(int64_t{0});
  const int64_t base = arguments.TakeInt(10, "base");
  arguments.Finish();
  CheckDefined(input);
  if (input.Is<int64_t>() || input.Is<bool>()) return ToInt(input);
  std::optional<double> number;
  if (const String* string = input.AsString()) {
    if (const auto integer = ParseInt(string->text, base)) return *integer;
    number = ParseFloat(string->text);
  } else if (const double* value = input.AsDouble()) {
    if (std::isinf(*value)) throw Failure("int: infinity is no integer");
    number = *value;
  }
  const std::optional<int64_t> integer = number ? Truncate(*number) : std::nullopt;
  if (!integer && number && std::isfinite(*number)) throw Failure("int: beyond 64 bits");
  return integer ? Value(*integer) : otherwise;
}

Value Float(Heap&, const Value& input, Arguments& arguments) {
  const Value otherwise = arguments.Take("default").value_or(0.0);
  arguments.Finish();
  CheckDefined(input);
  if (const auto number = AsNumber(input)) return static_cast<double>(*number);
  const String* string = input.AsString();
  const std::optional<double> number = string == nullptr ? std::nullopt : ParseFloat(string->text);
  return number ? Value(*number) : otherwise;
}

Value Abs(Heap&, const Value& input, Arguments& arguments) {
  arguments.Finish();
  if (!AsNumber(input)) throw Failure("abs: expected a number, found '{}'", TypeName(input));
  if (const double* number = input.AsDouble()) return std::abs(*number);
  return ToInt(input) < 0 ? Negate(input) : Value(ToInt(input));
}

Value RoundFilter(Heap&, const Value& input, Arguments& arguments) {
  const int64_t places = arguments.TakeInt(0, "precision");
  const std::optional<Value> method = arguments.Take("method");
  arguments.Finish();
  CheckDefined(input);
  if (!AsNumber(input)) throw Failure("round: expected a number, found '{}'", TypeName(input));
  const auto number = static_cast<double>(*AsNumber(input));
  const bool up = method && Equals(ToText(*method), "ceil");
  const bool down = method && Equals(ToText(*method), "floor");
  if (up || down) {
    const double unit = std::pow(10.0, static_cast<double>(places));
    return (up ? std::ceil(number * unit) : std::floor(number * unit)) / unit;
  }
  if (method && !Equals(ToText(*method), "common")) {
    throw Failure("round: expected the method common, ceil or floor");
  }
  if (input.Is<double>()) return Round(number, places);
  return places >= 0 ? ToInt(input) : Truncate(Round(number, places)).value_or(0);
}

struct Row {
  std::string_view name;
  FilterFunction function;
};
constexpr Row kFilters[] = {{"abs", Abs}, {"float", Float}, {"int", Int}, {"round", RoundFilter}};

}  // namespace

FilterFunction FindNumberFilter(std::string_view name) {
  const auto* row = std::ranges::find(kFilters, name, &Row::name);
  return row == std::end(kFilters) ? nullptr : row->function;
}

FilterFunction FindFilter(std::string_view name) {
  for (const auto find : {FindTextFilter, FindSequenceFilter, FindNumberFilter}) {
    if (const FilterFunction function = find(name)) return function;
  }
  return nullptr;
}

}  // namespace fptq::jinja
