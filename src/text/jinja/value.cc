#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja/heap.h"

namespace fptq::jinja {
namespace {

bool IsEqualSequence(const Sequence& a, const Sequence& b) {
  return &a == &b || (a.kind == b.kind && a.kind != Sequence::Kind::kIterator &&
                      std::ranges::equal(a.items, b.items, IsEqual));
}

bool IsEqualDict(const Dict& a, const Dict& b) {
  return a.items.size() == b.items.size() && std::ranges::all_of(a.items, [&](const auto& item) {
           const Value* other = b.Find(item.first);
           return other != nullptr && IsEqual(item.second, *other);
         });
}

}  // namespace

std::optional<long double> AsNumber(const Value& value) {
  static_assert(std::numeric_limits<long double>::digits >= 64);
  if (const bool* b = value.AsBool()) return *b ? 1 : 0;
  if (const int64_t* i = value.AsInt()) return static_cast<long double>(*i);
  if (const double* d = value.AsDouble()) return *d;
  return std::nullopt;
}

Extent ExtentOf(const Value& value) {
  if (const String* string = value.AsString()) return {0, 1 + string->text.size()};
  if (const Sequence* sequence = value.AsSequence()) return sequence->extent;
  if (const Dict* dict = value.AsDict()) return dict->extent;
  if (const Callable* callable = value.AsCallable()) return callable->extent;
  if (const NativeObject* native = value.AsNative()) return native->extent;
  return {};
}

const Value* Dict::Find(const Value& key) const {
  const auto it = std::ranges::lower_bound(
      by_key, key, [](const Value& a, const Value& b) { return CompareKeys(a, b) < 0; },
      [&](uint32_t i) -> const Value& { return items[i].first; });
  if (it == by_key.end()) {
    CompareKeys(key, key);  // Failure if it can be none
    return nullptr;
  }
  return CompareKeys(items[*it].first, key) == 0 ? &items[*it].second : nullptr;
}

const Value* Dict::Find(std::string_view ascii) const {
  const auto is_named = [&](const auto& item) {
    const String* name = item.first.AsString();
    return name != nullptr && Equals(name->text, ascii);
  };
  const auto it = std::ranges::find_if(items, is_named);
  return it == items.end() ? nullptr : &it->second;
}

std::string_view TypeName(const Value& value) {
  if (value.IsUndefined()) return "Undefined";
  if (value.IsNone()) return "NoneType";
  if (value.Is<bool>()) return "bool";
  if (value.Is<int64_t>()) return "int";
  if (value.Is<double>()) return "float";
  if (value.AsString() != nullptr) return "str";
  if (value.AsDict() != nullptr) return "dict";
  if (value.AsNamespace() != nullptr) return "namespace";
  if (value.AsCallable() != nullptr) return "function";
  if (value.AsNative() != nullptr) return "object";
  const Sequence& sequence = *value.AsSequence();
  switch (sequence.kind) {
    case Sequence::Kind::kList:
      return "list";
    case Sequence::Kind::kTuple:
      return "tuple";
    case Sequence::Kind::kIterator:
      return "generator";
    case Sequence::Kind::kView:
      return sequence.label;
    case Sequence::Kind::kRange:
      return "range";
  }
  return "object";
}

bool IsTrue(const Value& value) {
  if (value.IsUndefined() || value.IsNone()) return false;
  if (const auto number = AsNumber(value)) return *number != 0;
  if (const String* string = value.AsString()) return !string->text.empty();
  if (const Dict* dict = value.AsDict()) return !dict->items.empty();
  if (const Sequence* sequence = value.AsSequence()) {
    return sequence->kind == Sequence::Kind::kIterator || !sequence->items.empty();
  }
  return true;
}

bool IsEqual(const Value& a, const Value& b) {
  if (const auto x = AsNumber(a)) {
    const auto y = AsNumber(b);
    return y && *x == *y;
  }
  if (a.kind.index() != b.kind.index()) return false;
  if (const String* string = a.AsString()) return string->text == b.AsString()->text;
  if (const Sequence* sequence = a.AsSequence()) return IsEqualSequence(*sequence, *b.AsSequence());
  if (const Dict* dict = a.AsDict()) return IsEqualDict(*dict, *b.AsDict());
  return a.IsUndefined() || a.IsNone() || IsSame(a, b);
}

std::weak_ordering CompareKeys(const Value& a, const Value& b) {
  const auto rank = [](const Value& value) {
    if (AsNumber(value)) return 0;
    if (value.AsString() != nullptr) return 1;
    const Sequence* sequence = value.AsSequence();
    if (sequence != nullptr && sequence->kind == Sequence::Kind::kTuple) return 2;
    if (sequence != nullptr || value.AsDict() != nullptr) {
      throw Failure("unhashable type: '{}'", TypeName(value));
    }
    return 3 + static_cast<int>(value.kind.index());
  };
  const int rank_a = rank(a), rank_b = rank(b);
  if (rank_a != rank_b) return rank_a <=> rank_b;
  if (rank_a == 0) {
    const long double x = *AsNumber(a), y = *AsNumber(b);
    if (std::isnan(x) || std::isnan(y)) return std::isnan(y) <=> std::isnan(x);
    return x < y   ? std::weak_ordering::less
           : y < x ? std::weak_ordering::greater
                   : std::weak_ordering::equivalent;
  }
  if (rank_a == 1) return a.AsString()->text.compare(b.AsString()->text) <=> 0;
  if (rank_a == 2) {
    const auto& x = a.AsSequence()->items;
    const auto& y = b.AsSequence()->items;
    return std::lexicographical_compare_three_way(x.begin(), x.end(), y.begin(), y.end(),
                                                  CompareKeys);
  }
  const auto address = [](const Value& value) -> std::uintptr_t {
    return std::visit(
        []<typename T>(const T& x) -> std::uintptr_t {
          if constexpr (requires { x.get(); }) return reinterpret_cast<std::uintptr_t>(x.get());
          return 0;
        },
        value.kind);
  };
  return address(a) <=> address(b);
}

bool IsSame(const Value& a, const Value& b) {
  if (a.kind.index() != b.kind.index()) return false;
  return std::visit(
      [&]<typename T>(const T& x) {
        if constexpr (std::is_arithmetic_v<T>) {
          return x == std::get<T>(b.kind);
        } else if constexpr (requires { x.get(); }) {
          return x.get() == std::get<T>(b.kind).get();
        } else {
          return true;
        }
      },
      a.kind);
}

}  // namespace fptq::jinja
