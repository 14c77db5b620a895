// The values of templates, which are Python's: immutable but for namespaces.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/text.h"

namespace fptq::jinja {

class Heap;
struct Arguments;
struct Value;
struct Namespace;

// What was looked up and is not there.
struct Undefined {
  const std::string* name = nullptr;  // of the template or static; may be absent
  const char* problem = "is undefined";
};
struct None {};

// Memory that an object gives back to the heap's account when it goes.
class Charge {
 public:
  Charge() = default;  // of nobody: constants of the template
  Charge(Heap& heap, size_t bytes);
  ~Charge();
  Charge(Charge&& other) noexcept
      : heap_(std::exchange(other.heap_, nullptr)), bytes_(other.bytes_) {}
  Charge& operator=(Charge&&) = delete;

 private:
  Heap* heap_ = nullptr;
  size_t bytes_ = 0;
};

struct String {
  Text text;
  bool markup = false;  // result of `safe` or `escape`: what is added to it is escaped
  Charge charge;
};

// How far a value reaches that holds others: what it costs to go through it.
struct Extent {
  int depth = 0;    // of nesting
  size_t size = 1;  // characters and values in it; those that it holds twice count twice
};

struct Sequence {
  enum class Kind {
    kList,
    kTuple,
    kIterator,  // of a generator: can be gone through once
    kView,      // dict.keys() and the like
    kRange,
  };
  Kind kind;
  std::vector<Value> items;
  Extent extent;
  std::string label;  // kView: "dict_keys"; kRange: "range(0, 3)"
  Charge charge;
  mutable size_t next = 0;  // kIterator: the first that was not taken yet
};

struct Dict {
  std::vector<std::pair<Value, Value>> items;  // in the order of insertion, keys differ
  std::vector<uint32_t> by_key;                // indices of items, ordered by key
  Extent extent;
  Charge charge;

  // Null if absent. Failure if the key is of a kind that can be none.
  const Value* Find(const Value& key) const;
  const Value* Find(std::string_view ascii) const;
};

struct Callable {
  std::string name;
  std::function<Value(Heap&, Arguments&)> call;
  Extent extent;  // of what it is bound to
  Charge charge;
};

// What has attributes and can be called: the `loop` of a for, a cycler.
struct NativeObject : std::enable_shared_from_this<NativeObject> {
  explicit NativeObject(Extent extent_of_parts) : extent(extent_of_parts) {}
  virtual ~NativeObject() = default;
  // Undefined if there is no such attribute.
  virtual Value Attribute(Heap& heap, std::string_view name) = 0;
  virtual Value Call(Heap& heap, Arguments& arguments) = 0;
  virtual void Clear() {}  // drops what it was given after it was made

  Extent extent;
};

struct Value {
  using Kinds = std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const String>,
                             std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>,
                             std::shared_ptr<Namespace>, std::shared_ptr<const Callable>,
                             std::shared_ptr<NativeObject>>;
  Kinds kind;

  Value() = default;
  template <typename T>
  requires std::constructible_from<Kinds, T> &&
      (!std::same_as<std::decay_t<T>, Value>)Value(T&& value)
      : kind(std::forward<T>(value)) {}  // NOLINT(google-explicit-constructor)

  template <typename T>
  bool Is() const {
    return std::holds_alternative<T>(kind);
  }
  bool IsUndefined() const { return Is<Undefined>(); }
  bool IsNone() const { return Is<None>(); }
  // Null if it is none.
  const String* AsString() const { return Object<const String>(); }
  const Sequence* AsSequence() const { return Object<const Sequence>(); }
  const Dict* AsDict() const { return Object<const Dict>(); }
  Namespace* AsNamespace() const { return Object<Namespace>(); }
  const Callable* AsCallable() const { return Object<const Callable>(); }
  NativeObject* AsNative() const { return Object<NativeObject>(); }
  const bool* AsBool() const { return std::get_if<bool>(&kind); }
  const int64_t* AsInt() const { return std::get_if<int64_t>(&kind); }
  const double* AsDouble() const { return std::get_if<double>(&kind); }

 private:
  template <typename T>
  T* Object() const {
    const auto* pointer = std::get_if<std::shared_ptr<T>>(&kind);
    return pointer == nullptr ? nullptr : pointer->get();
  }
};

// The one thing that templates can change.
struct Namespace {
  struct Field {
    std::string name;
    Value value;
    Charge charge;
  };
  std::vector<Field> fields;
  Charge charge;
};

// Name of the value's type, as Python has it.
std::string_view TypeName(const Value& value);

// Python's bool(value).
bool IsTrue(const Value& value);
// Python's a == b.
bool IsEqual(const Value& a, const Value& b);
// Some order of the values that can be keys, by which equal ones are equivalent. Failure for
// others.
std::weak_ordering CompareKeys(const Value& a, const Value& b);
// A bool, int or float; exactly, as 64 bits of mantissa hold every int.
std::optional<long double> AsNumber(const Value& value);
Extent ExtentOf(const Value& value);
// Whether a and b are the same object (`is`).
bool IsSame(const Value& a, const Value& b);

}  // namespace fptq::jinja
