// The state of a for loop, which templates know as `loop`.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "text/jinja/interpreter.h"

namespace fptq::jinja {

class Loop final : public NativeObject {
 public:
  // `depth`: of loops within each other by recursion, from 1.
  Loop(Interpreter& interpreter, const For& node, std::vector<Value> items,
       std::shared_ptr<Scope> scope, int depth);

  bool Advance();  // to the next item; false at the end
  const Value& current() const { return current_; }

  Value Attribute(Heap& heap, std::string_view name) override;
  Value Call(Heap& heap, Arguments& arguments) override;
  void Clear() override { last_changed_.reset(); }

 private:
  // The next item that fulfills the condition, which may depend on what the loop has done so far.
  std::optional<Value> Fetch();
  bool HasNext();
  int64_t Length();
  Value Cycle(Arguments& arguments) const;
  Value Changed(Heap& heap, Arguments& arguments);

  Interpreter& interpreter_;
  const For& node_;
  std::vector<Value> items_;
  size_t next_ = 0;  // in items_
  std::shared_ptr<Scope> scope_;
  int depth_;
  int64_t index_ = -1;  // of the current item
  Value previous_, current_;
  std::deque<Value> ahead_;  // fetched, but not come to yet
  std::optional<Value> last_changed_;
  Charge charge_;
};

}  // namespace fptq::jinja
