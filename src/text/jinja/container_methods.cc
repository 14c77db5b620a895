#include <algorithm>
#include <span>

#include "text/jinja/methods.h"
#include "text/jinja/operators.h"

namespace fptq::jinja {
namespace {

Value View(Heap& heap, std::vector<Value> items, const char* label) {
  return heap.MakeSequence(Sequence::Kind::kView, std::move(items), label);
}

Value Items(Heap& heap, const Value& self, Arguments& arguments) {
  arguments.Finish();
  std::vector<Value> items;
  for (const auto& [key, value] : self.AsDict()->items) {
    items.push_back(heap.MakeTuple({key, value}));
  }
  return View(heap, std::move(items), "dict_items");
}

Value Keys(Heap& heap, const Value& self, Arguments& arguments) {
  arguments.Finish();
  return View(heap, Iterate(heap, self), "dict_keys");
}

Value Values(Heap& heap, const Value& self, Arguments& arguments) {
  arguments.Finish();
  std::vector<Value> items;
  for (const auto& [key, value] : self.AsDict()->items) items.push_back(value);
  return View(heap, std::move(items), "dict_values");
}

Value Get(Heap& heap, const Value& self, Arguments& arguments) {
  const Value key = arguments.Expect();
  const std::optional<Value> otherwise = arguments.Take();
  arguments.Finish();
  heap.Work(ExtentOf(key).size);
  if (const Value* item = self.AsDict()->Find(key)) return *item;
  return otherwise.value_or(None{});
}

Value Copy(Heap&, const Value& self, Arguments& arguments) {
  arguments.Finish();
  return self;  // which nothing can change
}

Value Index(Heap& heap, const Value& self, Arguments& arguments) {
  const Value item = arguments.Expect();
  const int64_t size = std::ssize(self.AsSequence()->items);
  const auto bound = [&](int64_t otherwise) {
    const int64_t i = arguments.TakeInt(otherwise);
    return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size);
  };
  const int64_t begin = bound(0), end = bound(size);
  arguments.Finish();
  for (int64_t i = begin; i < end; ++i) {
    if (AreEqual(heap, self.AsSequence()->items[static_cast<size_t>(i)], item)) return i;
  }
  throw Failure("the value is not in the {}", TypeName(self));
}

Value Count(Heap& heap, const Value& self, Arguments& arguments) {
  const Value item = arguments.Expect();
  arguments.Finish();
  return static_cast<int64_t>(std::ranges::count_if(
      self.AsSequence()->items, [&](const Value& other) { return AreEqual(heap, item, other); }));
}

struct Row {
  std::string_view name;
  Method method;  // null: it would change the object
};
constexpr Row kDictMethods[] = {
    {"items", Items},        {"keys", Keys},      {"values", Values}, {"get", Get},
    {"copy", Copy},          {"clear", nullptr},  {"pop", nullptr},   {"popitem", nullptr},
    {"setdefault", nullptr}, {"update", nullptr},
};
constexpr Row kSequenceMethods[] = {
    {"index", Index},    {"count", Count},     {"copy", Copy},      {"append", nullptr},
    {"clear", nullptr},  {"extend", nullptr},  {"insert", nullptr}, {"pop", nullptr},
    {"remove", nullptr}, {"reverse", nullptr}, {"sort", nullptr},
};
constexpr size_t kTupleMethods = 2;  // the first of them

Value Refuse(Heap&, const Value&, Arguments&) { return {}; }

Method Find(std::span<const Row> rows, std::string_view name) {
  const auto row = std::ranges::find(rows, name, &Row::name);
  if (row == rows.end()) return nullptr;
  return row->method == nullptr ? Refuse : row->method;
}

Method FindMethodOf(const Value& object, std::string_view name) {
  if (object.AsString() != nullptr) return FindStringMethod(name);
  if (object.AsDict() != nullptr) return Find(kDictMethods, name);
  const Sequence* sequence = object.AsSequence();
  if (sequence == nullptr) return nullptr;
  switch (sequence->kind) {
    case Sequence::Kind::kList:
      return Find(kSequenceMethods, name);
    case Sequence::Kind::kTuple:
    case Sequence::Kind::kRange:
      return Find(std::span(kSequenceMethods).first(kTupleMethods), name);
    case Sequence::Kind::kIterator:
    case Sequence::Kind::kView:
      break;
  }
  return nullptr;
}

}  // namespace

std::optional<Value> FindMethod(Heap& heap, const Value& object, std::string_view name) {
  const Method method = FindMethodOf(object, name);
  if (method == nullptr) return std::nullopt;
  if (method == Refuse) return Undefined{};
  return heap.MakeCallable(
      std::string(name),
      [method, object](Heap& h, Arguments& arguments) { return method(h, object, arguments); },
      object);
}

}  // namespace fptq::jinja
