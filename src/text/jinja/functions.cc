#include "text/jinja/functions.h"

#include <algorithm>
#include <array>
#include <limits>

#include "text/jinja/arguments.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"

namespace fptq::jinja {
namespace {

Value Range(Heap& heap, Arguments& arguments) {
  constexpr __int128 kMostItems = 100'000;  // as in Jinja's sandbox
  const int64_t first = ToInt(arguments.Expect());
  const std::optional<Value> second = arguments.Take();
  const int64_t step = arguments.TakeInt(1);
  arguments.Finish();
  const int64_t start = second ? first : 0, stop = second ? ToInt(*second) : first;
  if (step == 0) throw Failure("range: the step is 0");
  const __int128 distance = step > 0 ? __int128{stop} - start : __int128{start} - stop;
  const __int128 width = step > 0 ? __int128{step} : -__int128{step};
  const __int128 count = distance <= 0 ? 0 : (distance + width - 1) / width;
  if (count > kMostItems) throw Failure("range: more than {} items", int64_t{kMostItems});
  std::vector<Value> items;
  for (int64_t i = 0; i < static_cast<int64_t>(count); ++i) items.push_back(start + i * step);
  return heap.MakeSequence(Sequence::Kind::kRange, std::move(items),
                           step == 1 ? fmt::format("range({}, {})", start, stop)
                                     : fmt::format("range({}, {}, {})", start, stop, step));
}

// The items of dict(mapping or pairs, name=value, ...).
std::vector<std::pair<Value, Value>> DictItems(Heap& heap, Arguments& arguments) {
  std::vector<std::pair<Value, Value>> items;
  if (const std::optional<Value> source = arguments.Take()) {
    CheckDefined(*source);
    if (const Dict* dict = source->AsDict()) {
      items = dict->items;
    } else {
      for (const Value& pair : Iterate(heap, *source)) {
        const std::vector<Value> two = Iterate(heap, pair);
        if (two.size() != 2) throw Failure("dict: expected pairs");
        items.emplace_back(two[0], two[1]);
      }
    }
  }
  for (const auto& [name, value] : std::exchange(arguments.keywords, {})) {
    items.emplace_back(heap.MakeString(name), value);
  }
  arguments.Finish();
  return items;
}

Value MakeDict(Heap& heap, Arguments& arguments) {
  return heap.MakeDict(DictItems(heap, arguments));
}

Value MakeNamespace(Heap& heap, Arguments& arguments) {
  Value result = heap.MakeNamespace();
  for (const auto& [name, value] : DictItems(heap, arguments)) {
    SetField(heap, *result.AsNamespace(), ToUtf8(ToText(name)), value);
  }
  return result;
}

Value RaiseException(Heap& heap, Arguments& arguments) {
  const std::string message = ToUtf8(Str(heap, arguments.Expect("message")));
  throw Failure("the template refuses this: {}", message);
}

// Directives one by one, so that none can be longer than the buffer.
Value FormatTime(Heap& heap, TextView format, const std::tm& now) {
  Text out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (CodePoint(format[i]) != U'%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    std::string directive = "%";
    if (TextView(U"-_0^#").find(format[i + 1]) != TextView::npos && i + 2 < format.size()) {
      AppendUtf8(format[++i], directive);
    }
    AppendUtf8(format[++i], directive);
    std::array<char, 128> buffer;
    // Of a moment without a time zone, Python knows neither zone nor offset.
    const bool known = directive != "%z" && directive != "%Z" && directive != "%f";
    const size_t length =
        known ? std::strftime(buffer.data(), buffer.size(), directive.c_str(), &now) : 0;
    AppendAscii(std::string_view(buffer.data(), length), out);
    if (directive == "%f") AppendAscii("000000", out);
  }
  return heap.MakeString(std::move(out));
}

// cycler('a', 'b'): its next() gives them in turn.
class Cycler final : public NativeObject {
 public:
  explicit Cycler(std::vector<Value> items)
      : NativeObject(Heap::ExtentAround(items)), items_(std::move(items)) {}

  Value Attribute(Heap& heap, std::string_view name) override {
    if (name == "current") return items_[at_];
    if (name != "next" && name != "reset") return {};
    const bool resets = name == "reset";
    return heap.MakeCallable(
        std::string(name),
        [this, self = shared_from_this(), resets](Heap&, Arguments& arguments) {
          arguments.Finish();
          const Value current = items_[at_];
          at_ = resets ? 0 : (at_ + 1) % items_.size();
          return resets ? Value(None{}) : current;
        },
        shared_from_this());
  }
  Value Call(Heap&, Arguments&) override { throw Failure("a cycler cannot be called"); }

 private:
  std::vector<Value> items_;
  size_t at_ = 0;
};

Value MakeCycler(Heap&, Arguments& arguments) {
  if (arguments.positional.empty()) throw Failure("cycler: at least one item is needed");
  return std::shared_ptr<NativeObject>(std::make_shared<Cycler>(arguments.positional));
}

// joiner(', '): nothing when called first, then the separator.
Value MakeJoiner(Heap& heap, Arguments& arguments) {
  const Value separator = arguments.Take("sep").value_or(heap.MakeString(", "));
  arguments.Finish();
  return heap.MakeCallable(
      "joiner",
      [separator, used = std::make_shared<bool>(false)](Heap& h, Arguments&) {
        return std::exchange(*used, true) ? separator : h.MakeString(TextView());
      },
      separator);
}

}  // namespace

std::vector<std::pair<std::string, Value>> MakeFunctions(Heap& heap, const std::tm& now) {
  const auto strftime_now = [now](Heap& h, Arguments& arguments) {
    const Value format = arguments.Expect("format");
    arguments.Finish();
    return FormatTime(h, ToText(format), now);
  };
  std::vector<std::pair<std::string, Value>> functions;
  const auto add = [&](const char* name, std::function<Value(Heap&, Arguments&)> function) {
    functions.emplace_back(name, heap.MakeCallable(name, std::move(function)));
  };
  add("range", Range);
  add("dict", MakeDict);
  add("namespace", MakeNamespace);
  add("raise_exception", RaiseException);
  add("strftime_now", strftime_now);
  add("cycler", MakeCycler);
  add("joiner", MakeJoiner);
  return functions;
}

void SetField(Heap& heap, Namespace& fields, const std::string& name, const Value& value) {
  if (name.starts_with('_')) throw Failure("a namespace has no fields that begin with '_'");
  heap.Work(1 + fields.fields.size() / 8);
  const auto it =
      std::ranges::find_if(fields.fields, [&](const auto& field) { return field.name == name; });
  if (it != fields.fields.end()) {
    it->value = value;
  } else {
    fields.fields.push_back({name, value, Charge(heap, sizeof(Namespace::Field) + name.size())});
  }
}

}  // namespace fptq::jinja
