#include <algorithm>
#include <set>

#include "text/jinja/characters.h"
#include "text/jinja/filters.h"
#include "text/jinja/numbers.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"
#include "text/jinja/search.h"
#include "text/jinja/tests.h"

namespace fptq::jinja {
namespace {

// item.a.b for "a.b"; the item itself for None.
Value GetPath(Heap& heap, Value item, const Value& path,
              const std::optional<Value>& otherwise = std::nullopt) {
  std::vector<Value> parts;
  if (const String* string = path.AsString()) {
    const TextView text = string->text;
    size_t begin = 0;
    std::vector<size_t> dots = FindAll(heap, text, U".", text.size());
    dots.push_back(text.size());
    for (const size_t dot : dots) {
      const TextView part = text.substr(begin, dot - begin);
      const bool digits = !part.empty() && std::ranges::all_of(part, IsDigit);
      const std::optional<int64_t> index = digits ? ParseInt(part, 10) : std::nullopt;
      parts.push_back(index ? Value(*index) : heap.MakeString(part));
      begin = dot + 1;
    }
  } else if (!path.IsNone()) {
    parts.push_back(path);
  }
  for (const Value& part : parts) {
    item = GetItem(heap, item, part);
    if (item.IsUndefined() && otherwise && !otherwise->IsNone()) item = *otherwise;
  }
  return item;
}

Value IgnoreCase(Heap& heap, const Value& value) {
  const String* string = value.AsString();
  if (string == nullptr) return value;
  heap.Work(string->text.size());
  return heap.MakeString(Lower(string->text));
}

// What an item is compared by: itself or an attribute, in lower case unless that matters.
class Key {
 public:
  Key(bool case_sensitive, std::optional<Value> attribute)
      : case_sensitive_(case_sensitive), attribute_(attribute.value_or(None{})) {}

  Value operator()(Heap& heap, const Value& item) const {
    Value key = GetPath(heap, item, attribute_);
    return case_sensitive_ ? key : IgnoreCase(heap, key);
  }

 private:
  bool case_sensitive_;
  Value attribute_;
};

Key TakeKey(Arguments& arguments) {
  const bool case_sensitive = arguments.TakeBool(false, "case_sensitive");
  return {case_sensitive, arguments.Take("attribute")};
}

Value Default(Heap& heap, const Value& input, Arguments& arguments) {
  const Value otherwise = arguments.Take("default_value").value_or(heap.MakeString(TextView()));
  const bool boolean = arguments.TakeBool(false, "boolean");
  arguments.Finish();
  return input.IsUndefined() || (boolean && !IsTrue(input)) ? otherwise : input;
}

Value LengthFilter(Heap&, const Value& input, Arguments& arguments) {
  arguments.Finish();
  return Length(input);
}

Value List(Heap& heap, const Value& input, Arguments& arguments) {
  arguments.Finish();
  return heap.MakeList(Iterate(heap, input));
}

Value First(Heap& heap, const Value& input, Arguments& arguments) {
  arguments.Finish();
  static const std::string kItem = "the first item";
  if (const Sequence* sequence = input.AsSequence()) {
    const bool once = sequence->kind == Sequence::Kind::kIterator;
    const size_t i = once ? sequence->next : 0;
    if (i < sequence->items.size()) return sequence->items[once ? sequence->next++ : 0];
  } else {
    const std::vector<Value> items = Iterate(heap, input);
    if (!items.empty()) return items.front();
  }
  return Undefined{.name = &kItem, .problem = "is not there: the sequence is empty"};
}

void CheckReversible(const Value& input) {
  const Sequence* sequence = input.AsSequence();
  if (sequence != nullptr && sequence->kind == Sequence::Kind::kIterator) {
    throw Failure("a generator cannot be read from its end");
  }
}

Value Last(Heap& heap, const Value& input, Arguments& arguments) {
  arguments.Finish();
  static const std::string kItem = "the last item";
  CheckReversible(input);
  const std::vector<Value> items = Iterate(heap, input);
  if (!items.empty()) return items.back();
  return Undefined{.name = &kItem, .problem = "is not there: the sequence is empty"};
}

Value Reverse(Heap& heap, const Value& input, Arguments& arguments) {
  arguments.Finish();
  if (const String* string = input.AsString()) {
    return heap.MakeString(Text(string->text.rbegin(), string->text.rend()), string->markup);
  }
  const Sequence* sequence = input.AsSequence();
  const bool once = sequence != nullptr && sequence->kind == Sequence::Kind::kIterator;
  std::vector<Value> items = Iterate(heap, input);
  std::ranges::reverse(items);
  return once ? heap.MakeList(std::move(items)) : heap.MakeIterator(std::move(items));
}

Value Join(Heap& heap, const Value& input, Arguments& arguments) {
  const std::optional<Value> separator = arguments.Take("d");
  const std::optional<Value> attribute = arguments.Take("attribute");
  arguments.Finish();
  const Text between = separator ? Str(heap, *separator) : Text();
  Text out;
  bool first = true;
  for (const Value& item : Iterate(heap, input)) {
    if (!std::exchange(first, false)) out += between;
    heap.Copy(between.size());
    AppendStr(heap, attribute ? GetPath(heap, item, *attribute) : item, out);
  }
  return heap.MakeString(std::move(out));
}

Value ItemsFilter(Heap& heap, const Value& input, Arguments& arguments) {
  arguments.Finish();
  if (!input.IsUndefined() && input.AsDict() == nullptr) {
    throw Failure("items: expected a mapping, found '{}'", TypeName(input));
  }
  std::vector<Value> items;
  for (const Value& key : Iterate(heap, input)) {
    items.push_back(heap.MakeTuple({key, *input.AsDict()->Find(key)}));
  }
  return heap.MakeIterator(std::move(items));
}

// Stable, also when reversed.
template <typename T, typename GetKey>
void Sort(Heap& heap, std::vector<T>& items, bool reverse, GetKey key_of) {
  std::vector<std::pair<Value, T>> keyed;
  for (T& item : items) {
    Value key = key_of(item);
    keyed.emplace_back(std::move(key), std::move(item));
  }
  if (reverse) std::ranges::reverse(keyed);
  std::ranges::stable_sort(
      keyed, [&](const auto& a, const auto& b) { return IsLess(heap, a.first, b.first); });
  if (reverse) std::ranges::reverse(keyed);
  for (size_t i = 0; i < items.size(); ++i) items[i] = std::move(keyed[i].second);
}

Value DictSort(Heap& heap, const Value& input, Arguments& arguments) {
  const bool case_sensitive = arguments.TakeBool(false, "case_sensitive");
  const std::optional<Value> by = arguments.Take("by");
  const bool reverse = arguments.TakeBool(false, "reverse");
  arguments.Finish();
  CheckDefined(input);
  if (input.AsDict() == nullptr) throw Failure("dictsort: expected a mapping");
  const bool by_value = by && Equals(ToText(*by), "value");
  if (by && !by_value && !Equals(ToText(*by), "key")) {
    throw Failure("dictsort: expected by='key' or by='value'");
  }
  auto items = input.AsDict()->items;
  Sort(heap, items, reverse, [&](const auto& item) {
    const Value& key = by_value ? item.second : item.first;
    return case_sensitive ? key : IgnoreCase(heap, key);
  });
  std::vector<Value> pairs;
  for (auto& [key, value] : items) pairs.push_back(heap.MakeTuple({key, value}));
  return heap.MakeList(std::move(pairs));
}

Value SortFilter(Heap& heap, const Value& input, Arguments& arguments) {
  const bool reverse = arguments.TakeBool(false, "reverse");
  const bool case_sensitive = arguments.TakeBool(false, "case_sensitive");
  const std::optional<Value> attribute = arguments.Take("attribute");
  arguments.Finish();
  std::vector<Key> keys;  // of "a,b" several
  if (attribute && attribute->AsString() != nullptr) {
    const TextView text = attribute->AsString()->text;
    size_t begin = 0;
    std::vector<size_t> commas = FindAll(heap, text, U",", text.size());
    commas.push_back(text.size());
    for (const size_t comma : commas) {
      keys.emplace_back(case_sensitive, heap.MakeString(text.substr(begin, comma - begin)));
      begin = comma + 1;
    }
  } else {
    keys.emplace_back(case_sensitive, attribute);
  }
  std::vector<Value> items = Iterate(heap, input);
  Sort(heap, items, reverse, [&](const Value& item) {
    std::vector<Value> key;
    for (const Key& part : keys) key.push_back(part(heap, item));
    return heap.MakeList(std::move(key));
  });
  return heap.MakeList(std::move(items));
}

Value Unique(Heap& heap, const Value& input, Arguments& arguments) {
  const Key key = TakeKey(arguments);
  arguments.Finish();
  const auto is_before = [](const Value& a, const Value& b) { return CompareKeys(a, b) < 0; };
  std::set<Value, decltype(is_before)> seen(is_before);
  std::vector<Value> items;
  for (const Value& item : Iterate(heap, input)) {
    Value k = key(heap, item);
    CompareKeys(k, k);  // Failure if it can be none
    heap.Work(16 * ExtentOf(k).size);
    if (seen.insert(std::move(k)).second) items.push_back(item);
  }
  return heap.MakeIterator(std::move(items));
}

template <bool greatest>
Value Extreme(Heap& heap, const Value& input, Arguments& arguments) {
  const Key key = TakeKey(arguments);
  arguments.Finish();
  static const std::string kItem = greatest ? "the greatest item" : "the least item";
  std::optional<Value> best, best_key;
  for (const Value& item : Iterate(heap, input)) {
    const Value k = key(heap, item);
    const bool better =
        !best || (greatest ? IsLess(heap, *best_key, k) : IsLess(heap, k, *best_key));
    if (!better) continue;
    best = item;
    best_key = k;
  }
  return best.value_or(Undefined{.name = &kItem, .problem = "is not there: the sequence is empty"});
}

Value Sum(Heap& heap, const Value& input, Arguments& arguments) {
  const std::optional<Value> attribute = arguments.Take("attribute");
  Value sum = arguments.Take("start").value_or(int64_t{0});
  arguments.Finish();
  if (sum.AsString() != nullptr) throw Failure("sum: strings cannot be summed");
  for (const Value& item : Iterate(heap, input)) {
    sum = Calculate(heap, BinaryOperator::kAdd, sum,
                    attribute ? GetPath(heap, item, *attribute) : item);
  }
  return sum;
}

Value Apply(Heap& heap, const Value& name, const Value& item, const Arguments& arguments,
            size_t skipped) {
  Arguments rest{.callee = ToUtf8(ToText(name)),
                 .positional = {arguments.positional.begin() + static_cast<ptrdiff_t>(skipped),
                                arguments.positional.end()},
                 .keywords = arguments.keywords};
  const FilterFunction filter = FindFilter(rest.callee);
  if (filter == nullptr) throw Failure("there is no filter of the name that map is given");
  return filter(heap, item, rest);
}

Value Map(Heap& heap, const Value& input, Arguments& arguments) {
  std::vector<Value> items;
  if (!IsTrue(input)) return heap.MakeIterator(std::move(items));
  if (arguments.positional.empty()) {
    const Value attribute = arguments.Expect("attribute");
    const std::optional<Value> otherwise = arguments.Take("default");
    arguments.Finish();
    for (const Value& item : Iterate(heap, input)) {
      items.push_back(GetPath(heap, item, attribute, otherwise));
    }
  } else {
    for (const Value& item : Iterate(heap, input)) {
      heap.Work(1);
      items.push_back(Apply(heap, arguments.positional[0], item, arguments, 1));
    }
  }
  return heap.MakeIterator(std::move(items));
}

bool Passes(Heap& heap, const Value& item, const Arguments& arguments, size_t skipped) {
  if (arguments.positional.size() == skipped) return IsTrue(item);
  Arguments rest{.callee = ToUtf8(ToText(arguments.positional[skipped])),
                 .positional = {arguments.positional.begin() + static_cast<ptrdiff_t>(skipped) + 1,
                                arguments.positional.end()},
                 .keywords = arguments.keywords};
  const TestFunction test = FindTest(rest.callee);
  if (test == nullptr) throw Failure("there is no test of the name that select is given");
  return test(heap, item, rest);
}

// select, reject: by the item; selectattr, rejectattr: by its attribute.
template <bool by_attribute, bool wanted>
Value Select(Heap& heap, const Value& input, Arguments& arguments) {
  std::vector<Value> items;
  if (!IsTrue(input)) return heap.MakeIterator(std::move(items));
  if (by_attribute && arguments.positional.empty()) throw Failure("selectattr: no attribute given");
  for (const Value& item : Iterate(heap, input)) {
    heap.Work(1);
    const Value tested = by_attribute ? GetPath(heap, item, arguments.positional[0]) : item;
    if (Passes(heap, tested, arguments, by_attribute ? 1 : 0) == wanted) items.push_back(item);
  }
  return heap.MakeIterator(std::move(items));
}

Value Attr(Heap& heap, const Value& input, Arguments& arguments) {
  const std::string name = ToUtf8(ToText(arguments.Expect("name")));
  arguments.Finish();
  if (input.AsDict() != nullptr && input.AsDict()->Find(name) != nullptr) return Undefined{};
  const Value value = GetAttribute(heap, input, name);
  return value.IsUndefined() ? Undefined{} : value;  // whose name is gone
}

Value Batch(Heap& heap, const Value& input, Arguments& arguments) {
  const int64_t size = ToInt(arguments.Expect("linecount"));
  const Value fill = arguments.Take("fill_with").value_or(None{});
  arguments.Finish();
  std::vector<Value> batches, batch;
  for (const Value& item : Iterate(heap, input)) {
    if (std::ssize(batch) == size) batches.push_back(heap.MakeList(std::exchange(batch, {})));
    batch.push_back(item);
  }
  if (!batch.empty()) {
    if (!fill.IsNone() && std::ssize(batch) < size) {
      heap.CheckValues(static_cast<size_t>(size));
      batch.resize(static_cast<size_t>(size), fill);
    }
    batches.push_back(heap.MakeList(std::move(batch)));
  }
  return heap.MakeIterator(std::move(batches));
}

Value SliceFilter(Heap& heap, const Value& input, Arguments& arguments) {
  const int64_t slices = ToInt(arguments.Expect("slices"));
  const Value fill = arguments.Take("fill_with").value_or(None{});
  arguments.Finish();
  const std::vector<Value> items = Iterate(heap, input);
  if (slices == 0) throw Failure("slice: expected at least one");
  std::vector<Value> result;
  const int64_t each = std::ssize(items) / slices, larger = std::ssize(items) % slices;
  auto begin = items.begin();
  for (int64_t i = 0; i < slices; ++i) {
    const auto end = begin + each + (i < larger ? 1 : 0);
    std::vector<Value> slice(begin, end);
    if (!fill.IsNone() && i >= larger) slice.push_back(fill);
    result.push_back(heap.MakeList(std::move(slice)));
    begin = end;
  }
  return heap.MakeIterator(std::move(result));
}

struct Row {
  std::string_view name;
  FilterFunction function;
};
constexpr Row kFilters[] = {
    {"attr", Attr},
    {"batch", Batch},
    {"count", LengthFilter},
    {"d", Default},
    {"default", Default},
    {"dictsort", DictSort},
    {"first", First},
    {"items", ItemsFilter},
    {"join", Join},
    {"last", Last},
    {"length", LengthFilter},
    {"list", List},
    {"map", Map},
    {"max", Extreme<true>},
    {"min", Extreme<false>},
    {"reject", Select<false, false>},
    {"rejectattr", Select<true, false>},
    {"reverse", Reverse},
    {"select", Select<false, true>},
    {"selectattr", Select<true, true>},
    {"slice", SliceFilter},
    {"sort", SortFilter},
    {"sum", Sum},
    {"unique", Unique},
};

}  // namespace

FilterFunction FindSequenceFilter(std::string_view name) {
  const auto* row = std::ranges::find(kFilters, name, &Row::name);
  return row == std::end(kFilters) ? nullptr : row->function;
}

}  // namespace fptq::jinja
