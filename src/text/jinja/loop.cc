#include "text/jinja/loop.h"

#include "text/jinja/operators.h"

namespace fptq::jinja {

Loop::Loop(Interpreter& interpreter, const For& node, std::vector<Value> items,
           std::shared_ptr<Scope> scope, int depth)
    : NativeObject(Heap::ExtentAround(items)),
      interpreter_(interpreter),
      node_(node),
      items_(std::move(items)),
      scope_(std::move(scope)),
      depth_(depth),
      charge_(interpreter.heap_, sizeof(Loop) + items_.size() * sizeof(Value)) {}

std::optional<Value> Loop::Fetch() {
  while (next_ < items_.size()) {
    const Value item = items_[next_++];
    if (node_.condition == nullptr) return item;
    const auto around =
        std::exchange(interpreter_.scope_, std::make_shared<Scope>(interpreter_.heap_, scope_));
    interpreter_.Assign(node_.target, item);
    const bool fulfilled = IsTrue(interpreter_.Evaluate(node_.condition));
    interpreter_.scope_ = around;
    if (fulfilled) return item;
  }
  return std::nullopt;
}

bool Loop::HasNext() {
  if (!ahead_.empty()) return true;
  std::optional<Value> item = Fetch();
  if (item) ahead_.push_back(*std::move(item));
  return !ahead_.empty();
}

bool Loop::Advance() {
  if (!HasNext()) return false;
  previous_ = std::exchange(current_, std::move(ahead_.front()));
  ahead_.pop_front();
  ++index_;
  return true;
}

int64_t Loop::Length() {
  while (std::optional<Value> item = Fetch()) ahead_.push_back(*std::move(item));
  return index_ + 1 + std::ssize(ahead_);
}

Value Loop::Attribute(Heap& heap, std::string_view name) {
  static const std::string kPrevious = "loop.previtem", kNext = "loop.nextitem";
  if (name == "index") return index_ + 1;
  if (name == "index0") return index_;
  if (name == "first") return index_ == 0;
  if (name == "last") return !HasNext();
  if (name == "length") return Length();
  if (name == "revindex") return Length() - index_;
  if (name == "revindex0") return Length() - index_ - 1;
  if (name == "depth") return int64_t{depth_};
  if (name == "depth0") return int64_t{depth_ - 1};
  if (name == "previtem") return index_ == 0 ? Undefined{.name = &kPrevious} : previous_;
  if (name == "nextitem") return HasNext() ? ahead_.front() : Undefined{.name = &kNext};
  if (name == "cycle" || name == "changed") {
    const bool cycles = name == "cycle";
    return heap.MakeCallable(
        std::string(name),
        [this, self = shared_from_this(), cycles](Heap& h, Arguments& arguments) {
          return cycles ? Cycle(arguments) : Changed(h, arguments);
        },
        shared_from_this());
  }
  return {};
}

Value Loop::Cycle(Arguments& arguments) const {
  if (arguments.positional.empty()) throw Failure("loop.cycle: no items are given");
  return arguments.positional[static_cast<size_t>(index_) % arguments.positional.size()];
}

Value Loop::Changed(Heap& heap, Arguments& arguments) {
  const Value values = heap.MakeTuple(arguments.positional);
  if (last_changed_ && AreEqual(heap, *last_changed_, values)) return false;
  if (!last_changed_) heap.KeepToClear(shared_from_this());
  last_changed_ = values;
  return true;
}

Value Loop::Call(Heap& heap, Arguments& arguments) {
  const Value iterable = arguments.Expect("iterable");
  arguments.Finish();
  if (!node_.recursive) throw Failure("the loop is called, but not recursive");
  Buffer buffer(heap);
  Buffer* const out = std::exchange(interpreter_.out_, &buffer);
  interpreter_.RunLoop(node_, iterable, scope_, depth_ + 1);
  interpreter_.out_ = out;
  return heap.MakeString(buffer.Finish());
}

}  // namespace fptq::jinja
