#include "text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja/arguments.h"
#include "text/jinja/format.h"
#include "text/jinja/printing.h"
#include "text/jinja/search.h"

namespace fptq::jinja {
namespace {

[[noreturn]] void FailOperands(std::string_view op, const Value& a, const Value& b) {
  throw Failure("'{}' has no meaning for '{}' and '{}'", op, TypeName(a), TypeName(b));
}

std::string_view Symbol(BinaryOperator op) {
  switch (op) {
    case BinaryOperator::kAnd:
      return "and";
    case BinaryOperator::kOr:
      return "or";
    case BinaryOperator::kAdd:
      return "+";
    case BinaryOperator::kSub:
      return "-";
    case BinaryOperator::kMul:
      return "*";
    case BinaryOperator::kDiv:
      return "/";
    case BinaryOperator::kFloorDiv:
      return "//";
    case BinaryOperator::kMod:
      return "%";
    case BinaryOperator::kPow:
      return "**";
  }
  return "";
}

int64_t Checked(bool overflow, int64_t value) {
  if (overflow) throw Failure("an integer grows beyond 64 bits");
  return value;
}

int64_t FloorDiv(int64_t a, int64_t b) {
  if (b == 0) throw Failure("division by zero");
  if (b == -1) return Checked(a == std::numeric_limits<int64_t>::min(), -a);
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

int64_t Mod(int64_t a, int64_t b) {
  if (b == 0) throw Failure("division by zero");
  if (b == -1) return 0;
  const int64_t remainder = a % b;
  return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

int64_t Product(int64_t a, int64_t b) {
  int64_t product = 0;
  const bool overflow = __builtin_mul_overflow(a, b, &product);
  return Checked(overflow, product);
}

int64_t Power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0) result = Product(result, base);
    if (exponent > 1) base = Product(base, base);
  }
  return result;
}

Value CalculateInts(BinaryOperator op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case BinaryOperator::kAdd: {
      const bool overflow = __builtin_add_overflow(a, b, &result);
      return Checked(overflow, result);
    }
    case BinaryOperator::kSub: {
      const bool overflow = __builtin_sub_overflow(a, b, &result);
      return Checked(overflow, result);
    }
    case BinaryOperator::kMul:
      return Product(a, b);
    case BinaryOperator::kDiv:
      if (b == 0) throw Failure("division by zero");
      return static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b));
    case BinaryOperator::kFloorDiv:
      return FloorDiv(a, b);
    case BinaryOperator::kMod:
      return Mod(a, b);
    case BinaryOperator::kPow:
      if (b >= 0) return Power(a, b);
      if (a == 0) throw Failure("division by zero");
      return std::pow(static_cast<double>(a), static_cast<double>(b));
    case BinaryOperator::kAnd:
    case BinaryOperator::kOr:
      break;
  }
  return {};
}

Value CalculateDoubles(BinaryOperator op, double a, double b) {
  const auto check_divisor = [&] {
    if (b == 0) throw Failure("division by zero");
  };
  switch (op) {
    case BinaryOperator::kAdd:
      return a + b;
    case BinaryOperator::kSub:
      return a - b;
    case BinaryOperator::kMul:
      return a * b;
    case BinaryOperator::kDiv:
      check_divisor();
      return a / b;
    case BinaryOperator::kFloorDiv:
      check_divisor();
      return std::floor(a / b);
    case BinaryOperator::kMod: {
      check_divisor();
      const double remainder = std::fmod(a, b);
      return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
    }
    case BinaryOperator::kPow: {
      const double result = std::pow(a, b);
      if (std::isnan(result) || (std::isinf(result) && std::isfinite(a) && std::isfinite(b))) {
        throw Failure("the result of '**' is no number that can be held");
      }
      return result;
    }
    case BinaryOperator::kAnd:
    case BinaryOperator::kOr:
      break;
  }
  return {};
}

// text * n or list * n
Value Repeat(Heap& heap, const Value& value, int64_t times) {
  const auto count = static_cast<size_t>(std::max<int64_t>(times, 0));
  const size_t size = value.AsString() != nullptr ? value.AsString()->text.size()
                                                  : value.AsSequence()->items.size();
  if (size > 0 && count > std::numeric_limits<uint32_t>::max() / size) {
    throw Failure("a value of {} items is repeated {} times", size, times);
  }
  if (const String* string = value.AsString()) {
    heap.CheckCharacters(size * count);
    Text out;
    for (size_t i = 0; i < count && size > 0; ++i) out += string->text;
    return heap.MakeString(std::move(out), string->markup);
  }
  heap.CheckValues(size * count);
  std::vector<Value> items;
  for (size_t i = 0; i < count && size > 0; ++i) {
    items.insert(items.end(), value.AsSequence()->items.begin(), value.AsSequence()->items.end());
  }
  return heap.MakeSequence(value.AsSequence()->kind, std::move(items));
}

bool IsArray(const Value& value) {
  const Sequence* sequence = value.AsSequence();
  return sequence != nullptr &&
         (sequence->kind == Sequence::Kind::kList || sequence->kind == Sequence::Kind::kTuple);
}

std::optional<Value> AddObjects(Heap& heap, const Value& a, const Value& b) {
  const String* x = a.AsString();
  const String* y = b.AsString();
  if (x != nullptr && y != nullptr) {
    const bool markup = x->markup || y->markup;
    heap.CheckCharacters(x->text.size() + y->text.size());
    Text text = markup && !x->markup ? EscapeHtml(heap, x->text) : x->text;
    text += markup && !y->markup ? EscapeHtml(heap, y->text) : y->text;
    return heap.MakeString(std::move(text), markup);
  }
  if (IsArray(a) && IsArray(b) && a.AsSequence()->kind == b.AsSequence()->kind) {
    std::vector<Value> items = a.AsSequence()->items;
    heap.CheckValues(items.size() + b.AsSequence()->items.size());
    items.insert(items.end(), b.AsSequence()->items.begin(), b.AsSequence()->items.end());
    return heap.MakeSequence(a.AsSequence()->kind, std::move(items));
  }
  return std::nullopt;
}

std::optional<Value> MultiplyObjects(Heap& heap, const Value& a, const Value& b) {
  const auto is_repeated = [](const Value& value) {
    return value.AsString() != nullptr || IsArray(value);
  };
  const auto is_count = [](const Value& value) { return value.Is<bool>() || value.Is<int64_t>(); };
  if (is_repeated(a) && is_count(b)) return Repeat(heap, a, ToInt(b));
  if (is_repeated(b) && is_count(a)) return Repeat(heap, b, ToInt(a));
  return std::nullopt;
}

}  // namespace

void CheckDefined(const Value& value) {
  const auto* undefined = std::get_if<Undefined>(&value.kind);
  if (undefined == nullptr) return;
  throw Failure("{} {}", undefined->name == nullptr ? "a value" : "'" + *undefined->name + "'",
                undefined->problem);
}

Value Calculate(Heap& heap, BinaryOperator op, const Value& a, const Value& b) {
  heap.Work(1);
  CheckDefined(a);
  if (op == BinaryOperator::kMod && a.AsString() != nullptr) return FormatPercent(heap, a, b);
  CheckDefined(b);
  if (AsNumber(a) && AsNumber(b)) {
    if (a.Is<double>() || b.Is<double>()) {
      return CalculateDoubles(op, static_cast<double>(*AsNumber(a)),
                              static_cast<double>(*AsNumber(b)));
    }
    return CalculateInts(op, ToInt(a), ToInt(b));
  }
  std::optional<Value> result;
  if (op == BinaryOperator::kAdd) result = AddObjects(heap, a, b);
  if (op == BinaryOperator::kMul) result = MultiplyObjects(heap, a, b);
  if (!result) FailOperands(Symbol(op), a, b);
  return *std::move(result);
}

Value Negate(const Value& value) {
  CheckDefined(value);
  if (const double* d = value.AsDouble()) return -*d;
  if (!AsNumber(value)) throw Failure("'-' has no meaning for '{}'", TypeName(value));
  return CalculateInts(BinaryOperator::kSub, 0, ToInt(value));
}

Value Posit(const Value& value) {
  CheckDefined(value);
  if (value.Is<double>()) return value;
  if (!AsNumber(value)) throw Failure("'+' has no meaning for '{}'", TypeName(value));
  return ToInt(value);
}

bool AreEqual(Heap& heap, const Value& a, const Value& b) {
  heap.Work(std::min(ExtentOf(a).size, ExtentOf(b).size));
  return IsEqual(a, b);
}

bool IsLess(Heap& heap, const Value& a, const Value& b) {
  CheckDefined(a);
  CheckDefined(b);
  heap.Work(std::min(ExtentOf(a).size, ExtentOf(b).size));
  if (const auto x = AsNumber(a), y = AsNumber(b); x && y) return *x < *y;
  if (a.AsString() != nullptr && b.AsString() != nullptr) {
    return a.AsString()->text < b.AsString()->text;
  }
  if (!IsArray(a) || !IsArray(b) || a.AsSequence()->kind != b.AsSequence()->kind) {
    FailOperands("<", a, b);
  }
  const auto& x = a.AsSequence()->items;
  const auto& y = b.AsSequence()->items;
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    if (!AreEqual(heap, x[i], y[i])) return IsLess(heap, x[i], y[i]);
  }
  return x.size() < y.size();
}

bool Compare(Heap& heap, Comparator comparator, const Value& a, const Value& b) {
  const auto is_nan = [](const Value& value) {
    return value.AsDouble() != nullptr && std::isnan(*value.AsDouble());
  };
  switch (comparator) {
    case Comparator::kEq:
      return AreEqual(heap, a, b);
    case Comparator::kNe:
      return !AreEqual(heap, a, b);
    case Comparator::kLt:
      return IsLess(heap, a, b);
    case Comparator::kGt:
      return IsLess(heap, b, a);
    case Comparator::kLe:
      return !IsLess(heap, b, a) && !is_nan(a) && !is_nan(b);
    case Comparator::kGe:
      return !IsLess(heap, a, b) && !is_nan(a) && !is_nan(b);
    case Comparator::kIn:
      return Contains(heap, b, a);
    case Comparator::kNotIn:
      return !Contains(heap, b, a);
  }
  return false;
}

bool Contains(Heap& heap, const Value& container, const Value& item) {
  if (const String* string = container.AsString()) {
    CheckDefined(item);
    heap.Work(string->text.size() + 1);
    return Find(heap, string->text, ToText(item), 0) != TextView::npos;
  }
  if (const Dict* dict = container.AsDict()) {
    heap.Work(ExtentOf(item).size);
    return dict->Find(item) != nullptr;
  }
  if (const Sequence* sequence = container.AsSequence();
      sequence != nullptr && sequence->kind != Sequence::Kind::kIterator) {
    return std::ranges::any_of(sequence->items, [&](const Value& other) {
      return IsSame(item, other) || AreEqual(heap, item, other);
    });
  }
  const std::vector<Value> items = Iterate(heap, container);
  return std::ranges::any_of(items,
                             [&](const Value& other) { return AreEqual(heap, item, other); });
}

}  // namespace fptq::jinja
