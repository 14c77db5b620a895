#include "text/jinja/heap.h"

#include <algorithm>

namespace fptq::jinja {
namespace {

// Of lists and dicts, which are destroyed, printed and compared recursively.
constexpr int kMaxDepth = 200;

constexpr size_t kMaxSize = size_t{1} << 28;

constexpr size_t kObjectBytes = 96;  // of the object itself and its bookkeeping

// The extent of what holds values of these extents.
class ExtentSum {
 public:
  void Add(const Value& value) {
    const Extent extent = ExtentOf(value);
    sum_.depth = std::max(sum_.depth, extent.depth);
    sum_.size += extent.size;
    if (sum_.size > kMaxSize) throw Failure("a value holds more than {} others", kMaxSize);
  }
  Extent Finish() {
    if (++sum_.depth > kMaxDepth) throw Failure("a value nests deeper than {}", kMaxDepth);
    return sum_;
  }

 private:
  Extent sum_;
};

}  // namespace

Charge::Charge(Heap& heap, size_t bytes) : heap_(&heap), bytes_(bytes) {
  heap.CheckRoom(bytes, 1);
  heap.used_ += bytes;
}

Charge::~Charge() {
  if (heap_ != nullptr) heap_->used_ -= bytes_;
}

void Heap::CheckRoom(size_t count, size_t size) const {
  const size_t room = static_cast<size_t>(limits_.memory) - used_;
  if (count > room / size) {
    throw Failure("the template needs more than {} MiB of memory", limits_.memory >> 20);
  }
}

Value Heap::MakeString(Text text, bool markup) {
  Step();
  Copy(text.size());
  Charge charge(*this, kObjectBytes + text.size() * sizeof(char32_t));
  return std::make_shared<const String>(
      String{.text = std::move(text), .markup = markup, .charge = std::move(charge)});
}

Value Heap::MakeSequence(Sequence::Kind kind, std::vector<Value> items, std::string label) {
  Work(1 + items.size());
  Charge charge(*this, kObjectBytes + items.size() * sizeof(Value));
  const Extent extent = ExtentAround(items);
  return std::make_shared<const Sequence>(Sequence{.kind = kind,
                                                   .items = std::move(items),
                                                   .extent = extent,
                                                   .label = std::move(label),
                                                   .charge = std::move(charge)});
}

Value Heap::MakeDict(std::vector<std::pair<Value, Value>> items) {
  Charge charge(*this, kObjectBytes + items.size() * (2 * sizeof(Value) + sizeof(uint32_t)));
  ExtentSum extent;
  std::vector<uint32_t> by_key(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    by_key[i] = static_cast<uint32_t>(i);
    extent.Add(items[i].first);
    Work(8 * ExtentOf(items[i].first).size);  // to sort
    extent.Add(items[i].second);
  }
  if (items.size() == 1) CompareKeys(items[0].first, items[0].first);  // Failure if it can be none
  std::ranges::stable_sort(by_key, [&](uint32_t a, uint32_t b) {
    return CompareKeys(items[a].first, items[b].first) < 0;
  });
  std::vector<bool> is_later(items.size());  // than one of the same key
  for (size_t i = 0, first = 0; i < by_key.size(); ++i) {
    if (i == 0 || CompareKeys(items[by_key[first]].first, items[by_key[i]].first) != 0) {
      first = i;
    } else {
      items[by_key[first]].second = items[by_key[i]].second;
      is_later[by_key[i]] = true;
    }
  }
  if (std::ranges::find(is_later, true) != is_later.end()) {
    std::vector<std::pair<Value, Value>> unique;
    for (size_t i = 0; i < items.size(); ++i) {
      if (!is_later[i]) unique.push_back(std::move(items[i]));
    }
    return MakeDict(std::move(unique));
  }
  return std::make_shared<const Dict>(Dict{.items = std::move(items),
                                           .by_key = std::move(by_key),
                                           .extent = extent.Finish(),
                                           .charge = std::move(charge)});
}

Value Heap::MakeNamespace() {
  auto result =
      std::make_shared<Namespace>(Namespace{.fields = {}, .charge = Charge(*this, kObjectBytes)});
  changeables_.namespaces.push_back(result);
  return result;
}

Heap::Changeables::~Changeables() {
  for (const auto& object : namespaces) object->fields.clear();
  for (const auto& object : natives) object->Clear();
}

Extent Heap::ExtentAround(const std::vector<Value>& values) {
  ExtentSum extent;
  for (const Value& value : values) extent.Add(value);
  return extent.Finish();
}

Value Heap::MakeCallable(std::string name, std::function<Value(Heap&, Arguments&)> call,
                         const Value& bound) {
  constexpr size_t kCapturedBytes = 96;
  Step();
  return std::make_shared<const Callable>(
      Callable{.name = std::move(name),
               .call = std::move(call),
               .extent = ExtentAround({bound}),
               .charge = Charge(*this, kObjectBytes + kCapturedBytes)});
}

Value Heap::FromJson(const Json& json, Origin origin) {
  switch (json.type()) {
    case Json::value_t::null:
    case Json::value_t::discarded:
    case Json::value_t::binary:
      return None{};
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::number_integer:
      return json.get<int64_t>();
    case Json::value_t::number_unsigned:
      if (!std::in_range<int64_t>(json.get<uint64_t>())) {
        throw Failure("the integer {} is beyond 64 bits with a sign", json.get<uint64_t>());
      }
      return json.get<int64_t>();
    case Json::value_t::number_float:
      return json.get<double>();
    case Json::value_t::string:
      return MakeString(FromUtf8(json.get_ref<const std::string&>(), origin));
    case Json::value_t::array: {
      std::vector<Value> items;
      for (const Json& item : json) items.push_back(FromJson(item, origin));
      return MakeList(std::move(items));
    }
    case Json::value_t::object: {
      std::vector<std::pair<Value, Value>> items;
      for (const auto& [key, value] : json.items()) {
        items.emplace_back(MakeString(FromUtf8(key, origin)), FromJson(value, origin));
      }
      return MakeDict(std::move(items));
    }
  }
  return None{};
}

}  // namespace fptq::jinja
