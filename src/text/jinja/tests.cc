#include "text/jinja/tests.h"

#include <algorithm>

#include "text/jinja/characters.h"
#include "text/jinja/filters.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"

namespace fptq::jinja {
namespace {

using Kind = Sequence::Kind;

bool IsDefinedTest(Heap&, const Value& value, Arguments&) { return !value.IsUndefined(); }
bool IsUndefinedTest(Heap&, const Value& value, Arguments&) { return value.IsUndefined(); }
bool IsNoneTest(Heap&, const Value& value, Arguments&) { return value.IsNone(); }
bool IsString(Heap&, const Value& value, Arguments&) { return value.AsString() != nullptr; }
bool IsMapping(Heap&, const Value& value, Arguments&) { return value.AsDict() != nullptr; }
bool IsBoolean(Heap&, const Value& value, Arguments&) { return value.Is<bool>(); }
bool IsInteger(Heap&, const Value& value, Arguments&) { return value.Is<int64_t>(); }
bool IsFloat(Heap&, const Value& value, Arguments&) { return value.Is<double>(); }
bool IsNumber(Heap&, const Value& value, Arguments&) { return AsNumber(value).has_value(); }
template <bool expected>
bool IsBool(Heap&, const Value& value, Arguments&) {
  return value.AsBool() != nullptr && *value.AsBool() == expected;
}

bool IsSequence(Heap&, const Value& value, Arguments&) {
  const Sequence* sequence = value.AsSequence();
  return value.IsUndefined() || value.AsString() != nullptr || value.AsDict() != nullptr ||
         (sequence != nullptr && sequence->kind != Kind::kIterator &&
          sequence->kind != Kind::kView);
}
bool IsIterable(Heap&, const Value& value, Arguments&) {
  return value.IsUndefined() || value.AsString() != nullptr || value.AsDict() != nullptr ||
         value.AsSequence() != nullptr;
}
bool IsCallable(Heap&, const Value& value, Arguments&) {
  return value.IsUndefined() || value.AsCallable() != nullptr || value.AsNative() != nullptr;
}
bool IsEscaped(Heap&, const Value& value, Arguments&) {
  return value.AsString() != nullptr && value.AsString()->markup;
}

bool IsRemainder(Heap& heap, const Value& value, const Value& divisor, int64_t remainder) {
  return IsEqual(Calculate(heap, BinaryOperator::kMod, value, divisor), remainder);
}
bool IsOdd(Heap& heap, const Value& value, Arguments&) {
  return IsRemainder(heap, value, int64_t{2}, 1);
}
bool IsEven(Heap& heap, const Value& value, Arguments&) {
  return IsRemainder(heap, value, int64_t{2}, 0);
}
bool IsDivisibleBy(Heap& heap, const Value& value, Arguments& arguments) {
  return IsRemainder(heap, value, arguments.Expect("num"), 0);
}

template <bool (*is)(char32_t), bool (*is_not)(char32_t)>
bool CasedAre(Heap& heap, const Value& value, Arguments&) {
  const Text text = Str(heap, value);
  heap.Work(text.size());
  return std::ranges::any_of(text, is) && std::ranges::none_of(text, is_not);
}

bool IsSameAs(Heap&, const Value& value, Arguments& arguments) {
  return IsSame(value, arguments.Expect("other"));
}
template <Comparator comparator>
bool Compares(Heap& heap, const Value& value, Arguments& arguments) {
  return Compare(heap, comparator, value, arguments.Expect());
}
bool IsFilter(Heap&, const Value& value, Arguments&) {
  return value.AsString() != nullptr && FindFilter(ToUtf8(value.AsString()->text)) != nullptr;
}
bool IsTest(Heap&, const Value& value, Arguments&) {
  return value.AsString() != nullptr && FindTest(ToUtf8(value.AsString()->text)) != nullptr;
}

struct Row {
  std::string_view name;
  TestFunction function;
};
constexpr Row kTests[] = {
    {"defined", IsDefinedTest},
    {"undefined", IsUndefinedTest},
    {"none", IsNoneTest},
    {"string", IsString},
    {"mapping", IsMapping},
    {"sequence", IsSequence},
    {"iterable", IsIterable},
    {"callable", IsCallable},
    {"boolean", IsBoolean},
    {"true", IsBool<true>},
    {"false", IsBool<false>},
    {"integer", IsInteger},
    {"float", IsFloat},
    {"number", IsNumber},
    {"odd", IsOdd},
    {"even", IsEven},
    {"divisibleby", IsDivisibleBy},
    {"lower", CasedAre<IsLower, IsUpper>},
    {"upper", CasedAre<IsUpper, IsLower>},
    {"sameas", IsSameAs},
    {"escaped", IsEscaped},
    {"filter", IsFilter},
    {"test", IsTest},
    {"in", Compares<Comparator::kIn>},
    {"==", Compares<Comparator::kEq>},
    {"eq", Compares<Comparator::kEq>},
    {"equalto", Compares<Comparator::kEq>},
    {"!=", Compares<Comparator::kNe>},
    {"ne", Compares<Comparator::kNe>},
    {"<", Compares<Comparator::kLt>},
    {"lt", Compares<Comparator::kLt>},
    {"lessthan", Compares<Comparator::kLt>},
    {"<=", Compares<Comparator::kLe>},
    {"le", Compares<Comparator::kLe>},
    {">", Compares<Comparator::kGt>},
    {"gt", Compares<Comparator::kGt>},
    {"greaterthan", Compares<Comparator::kGt>},
    {">=", Compares<Comparator::kGe>},
    {"ge", Compares<Comparator::kGe>},
};

}  // namespace

TestFunction FindTest(std::string_view name) {
  const auto* row = std::ranges::find(kTests, name, &Row::name);
  return row == std::end(kTests) ? nullptr : row->function;
}

}  // namespace fptq::jinja
