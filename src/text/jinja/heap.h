// Makes values, and bounds what a template may use: it may come from a stranger.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/jinja/value.h"

namespace fptq::jinja {

// What goes wrong while a template runs; becomes an Error that says where.
class Failure : public std::runtime_error {
 public:
  template <typename... Args>
  explicit Failure(fmt::format_string<Args...> format, Args&&... args)
      : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)) {}
};

struct Limits {
  int64_t work = int64_t{1} << 27;    // steps, and characters that are looked at
  int64_t memory = int64_t{1} << 28;  // bytes of all values that live at a time
  int depth = 600;                    // of statements, expressions and calls within each other
};

class Heap {
 public:
  explicit Heap(const Limits& limits) : limits_(limits) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // Failure beyond the limit.
  void Work(size_t units) {
    if (units > work_left_) throw Failure("the template takes more than {} steps", limits_.work);
    work_left_ -= units;
  }
  // A step of the interpreter, which costs as much as looking at so many characters.
  void Step() { Work(16); }
  // What touches whole texts without looking at each character.
  void Copy(size_t characters) { Work(1 + characters / 16); }

  // Failure if an object of so many characters or values would be too large. To be called before
  // one is built whose size does not follow from those that are there.
  void CheckCharacters(size_t count) const { CheckRoom(count, sizeof(char32_t)); }
  void CheckValues(size_t count) const { CheckRoom(count, sizeof(Value)); }

  Value MakeString(Text text, bool markup = false);
  Value MakeString(TextView text, bool markup = false) { return MakeString(Text(text), markup); }
  Value MakeString(std::string_view utf8) { return MakeString(FromUtf8(utf8)); }
  Value MakeList(std::vector<Value> items) {
    return MakeSequence(Sequence::Kind::kList, std::move(items));
  }
  Value MakeTuple(std::vector<Value> items) {
    return MakeSequence(Sequence::Kind::kTuple, std::move(items));
  }
  Value MakeIterator(std::vector<Value> items) {
    return MakeSequence(Sequence::Kind::kIterator, std::move(items));
  }
  Value MakeSequence(Sequence::Kind kind, std::vector<Value> items, std::string label = {});
  // Of equal keys the last counts, at the place of the first.
  Value MakeDict(std::vector<std::pair<Value, Value>> items);
  Value MakeNamespace();
  // `bound`: what the function holds; a Macro's scope is not counted.
  Value MakeCallable(std::string name, std::function<Value(Heap&, Arguments&)> call,
                     const Value& bound = {});
  // To be called when `object` is given a value that it did not have from the start.
  void KeepToClear(std::shared_ptr<NativeObject> object) {
    changeables_.natives.push_back(std::move(object));
  }
  // Of what holds the values. Failure if it would nest too deep.
  static Extent ExtentAround(const std::vector<Value>& values);
  // All strings in it, keys too, are by `origin`.
  Value FromJson(const Json& json, Origin origin);

  // Depth of what is being run.
  class Level {
   public:
    explicit Level(Heap& heap) : heap_(heap) {
      if (++heap_.depth_ > heap_.limits_.depth) {
        --heap_.depth_;
        throw Failure("the template nests deeper than {}", heap_.limits_.depth);
      }
    }
    ~Level() { --heap_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Heap& heap_;
  };

 private:
  friend class Charge;
  void CheckRoom(size_t count, size_t size) const;

  Limits limits_;
  size_t work_left_ = static_cast<size_t>(limits_.work);
  size_t used_ = 0;  // bytes
  int depth_ = 0;
  // What can change is kept to the end and then cleared: it may hold itself in a circle.
  struct Changeables {
    ~Changeables();
    std::vector<std::shared_ptr<Namespace>> namespaces;
    std::vector<std::shared_ptr<NativeObject>> natives;
  } changeables_;
};

}  // namespace fptq::jinja
