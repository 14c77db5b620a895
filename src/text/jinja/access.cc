#include <algorithm>
#include <limits>

#include "text/jinja/methods.h"
#include "text/jinja/operators.h"

namespace fptq::jinja {
namespace {

constexpr const char* kNoSuchAttribute = "is no attribute of the value";

const Value* FindField(const Namespace& object, std::string_view name) {
  const auto it =
      std::ranges::find_if(object.fields, [&](const auto& field) { return field.name == name; });
  return it == object.fields.end() ? nullptr : &it->value;
}

// What the object has by itself, not as a container.
std::optional<Value> FindAttribute(Heap& heap, const Value& object, std::string_view name) {
  if (const Namespace* fields = object.AsNamespace()) {
    const Value* field = FindField(*fields, name);
    return field == nullptr ? std::nullopt : std::optional(*field);
  }
  if (NativeObject* native = object.AsNative()) return native->Attribute(heap, name);
  return FindMethod(heap, object, name);
}

// object[index] of a text or sequence.
Value GetIndex(Heap& heap, const Value& object, int64_t index) {
  const String* string = object.AsString();
  const Sequence* sequence = object.AsSequence();
  const auto size = static_cast<int64_t>(string != nullptr     ? string->text.size()
                                         : sequence != nullptr ? sequence->items.size()
                                                               : 0);
  if (sequence != nullptr &&
      (sequence->kind == Sequence::Kind::kIterator || sequence->kind == Sequence::Kind::kView)) {
    return Undefined{};
  }
  if (index < 0) index += size;
  if (index < 0 || index >= size) return Undefined{};
  const auto i = static_cast<size_t>(index);
  if (string != nullptr)
    return heap.MakeString(TextView(string->text).substr(i, 1), string->markup);
  return sequence->items[i];
}

// The container's item; none if it has no such one.
std::optional<Value> FindItem(Heap& heap, const Value& object, const Value& key) {
  if (const Dict* dict = object.AsDict()) {
    heap.Work(ExtentOf(key).size);
    const bool hashable =
        key.AsDict() == nullptr &&
        (key.AsSequence() == nullptr || key.AsSequence()->kind == Sequence::Kind::kTuple);
    const Value* item = hashable ? dict->Find(key) : nullptr;
    return item == nullptr ? std::nullopt : std::optional(*item);
  }
  if (!key.Is<int64_t>() && !key.Is<bool>()) return std::nullopt;
  Value item = GetIndex(heap, object, ToInt(key));
  return item.IsUndefined() ? std::nullopt : std::optional(std::move(item));
}

// The indices start, start + step, ... of a sequence of `size`.
std::vector<size_t> SliceIndices(Heap& heap, size_t size, const Value& start, const Value& stop,
                                 const Value& step) {
  const auto length = static_cast<int64_t>(size);
  const int64_t by = step.IsNone() ? 1 : ToInt(step);
  if (by == 0) throw Failure("the step of a slice is 0");
  const int64_t low = by < 0 ? -1 : 0, high = by < 0 ? length - 1 : length;
  const auto bound = [&](const Value& value, int64_t otherwise) {
    if (value.IsNone()) return otherwise;
    const int64_t i = ToInt(value);
    return std::clamp(i < 0 ? std::max(i, -length - 1) + length : i, low, high);
  };
  const int64_t begin = bound(start, by < 0 ? high : low);
  const int64_t end = bound(stop, by < 0 ? low : high);
  std::vector<size_t> indices;
  const int64_t last_step = std::clamp(by, -length - 1, length + 1);
  for (int64_t i = begin; by > 0 ? i < end : i > end; i += last_step) {
    indices.push_back(static_cast<size_t>(i));
  }
  heap.Work(indices.size());
  return indices;
}

}  // namespace

std::vector<Value> Iterate(Heap& heap, const Value& value) {
  std::vector<Value> items;
  if (const Sequence* sequence = value.AsSequence()) {
    heap.Work(sequence->items.size());
    heap.CheckValues(sequence->items.size());
    if (sequence->kind != Sequence::Kind::kIterator) return sequence->items;
    items.assign(sequence->items.begin() + static_cast<ptrdiff_t>(sequence->next),
                 sequence->items.end());
    sequence->next = sequence->items.size();
  } else if (const Dict* dict = value.AsDict()) {
    heap.Work(dict->items.size());
    for (const auto& [key, item] : dict->items) items.push_back(key);
  } else if (const String* string = value.AsString()) {
    for (const char32_t& c : string->text) items.push_back(heap.MakeString(TextView(&c, 1)));
  } else if (!value.IsUndefined()) {
    throw Failure("a value of the type '{}' cannot be iterated", TypeName(value));
  }
  return items;
}

int64_t Length(const Value& value) {
  if (value.IsUndefined()) return 0;
  if (const String* string = value.AsString()) return std::ssize(string->text);
  if (const Dict* dict = value.AsDict()) return std::ssize(dict->items);
  if (const Sequence* sequence = value.AsSequence();
      sequence != nullptr && sequence->kind != Sequence::Kind::kIterator) {
    return std::ssize(sequence->items);
  }
  throw Failure("a value of the type '{}' has no length", TypeName(value));
}

Value GetAttribute(Heap& heap, const Value& object, const std::string& name) {
  heap.Work(1 + name.size());
  CheckDefined(object);
  if (std::optional<Value> value = FindAttribute(heap, object, name)) {
    const bool refused =
        value->IsUndefined() && object.AsNamespace() == nullptr && object.AsNative() == nullptr;
    if (!refused) return *std::move(value);
    return Undefined{.name = &name, .problem = "would change a value, which templates may not"};
  }
  if (const Dict* dict = object.AsDict()) {
    if (const Value* item = dict->Find(heap.MakeString(name))) return *item;
  }
  return Undefined{.name = &name, .problem = kNoSuchAttribute};
}

Value GetItem(Heap& heap, const Value& object, const Value& key) {
  heap.Work(1);
  CheckDefined(object);
  if (std::optional<Value> item = FindItem(heap, object, key)) return *std::move(item);
  if (const String* name = key.AsString()) {
    if (auto value = FindAttribute(heap, object, ToUtf8(name->text))) return *std::move(value);
  }
  static const std::string kItem = "the item";
  return Undefined{.name = &kItem, .problem = "is not there"};
}

Value GetSlice(Heap& heap, const Value& object, const Value& start, const Value& stop,
               const Value& step) {
  CheckDefined(object);
  if (const String* string = object.AsString()) {
    const auto indices = SliceIndices(heap, string->text.size(), start, stop, step);
    Text text;
    text.reserve(indices.size());
    for (const size_t i : indices) text += string->text[i];
    return heap.MakeString(std::move(text), string->markup);
  }
  const Sequence* sequence = object.AsSequence();
  if (sequence == nullptr || sequence->kind == Sequence::Kind::kIterator ||
      sequence->kind == Sequence::Kind::kView) {
    throw Failure("a value of the type '{}' cannot be sliced", TypeName(object));
  }
  std::vector<Value> items;
  for (const size_t i : SliceIndices(heap, sequence->items.size(), start, stop, step)) {
    items.push_back(sequence->items[i]);
  }
  return heap.MakeSequence(
      sequence->kind == Sequence::Kind::kTuple ? Sequence::Kind::kTuple : Sequence::Kind::kList,
      std::move(items));
}

}  // namespace fptq::jinja
