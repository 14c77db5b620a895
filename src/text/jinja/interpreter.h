// Runs a parsed template.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/arguments.h"
#include "text/jinja/ast.h"
#include "text/jinja/heap.h"

namespace fptq::jinja {

// Variables by name; those that are not here are looked for in the scope around it.
struct Scope {
  Scope(Heap& heap, std::shared_ptr<Scope> around)
      : parent(std::move(around)), charge(heap, sizeof(Scope)) {
    heap.Work(64);
  }
  void Set(const std::string& name, Value value);

  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> variables;
  Charge charge;
};

// Text that is being written, on the heap's account.
class Buffer {
 public:
  explicit Buffer(Heap& heap) : heap_(heap) {}
  void Append(const Value& value);  // str(value)
  Text Finish() { return std::move(text_); }

 private:
  Heap& heap_;
  Text text_;
  std::vector<Charge> charges_;
};

class Interpreter {
 public:
  Interpreter(Heap& heap, std::shared_ptr<Scope> globals);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // Runs a whole template.
  Text Run(const Body& body);
  // Where it is, or failed.
  int line() const { return line_; }

 private:
  friend class Loop;
  enum class Flow { kNext, kBreak, kContinue };

  // Statements: statements.cc.
  Flow RunBody(const Body& body);
  Flow RunStatement(const Statement& statement);
  Flow Execute(const Output& node);
  Flow Execute(const Set& node);
  Flow Execute(const SetBlock& node);
  Flow Execute(const For& node);
  Flow Execute(const If& node);
  Flow Execute(const Macro& node);
  Flow Execute(const CallBlock& node);
  Flow Execute(const FilterBlock& node);
  Flow Execute(const With& node);
  Flow Execute(const Scoped& node);
  Flow Execute(const Break&) { return Flow::kBreak; }
  Flow Execute(const Continue&) { return Flow::kContinue; }

  void Assign(const Target& target, const Value& value);
  // The body's text, in a scope of its own; `filter`, if any, is applied to it there.
  Value Capture(const Body& body, const Expression* filter);
  void RunLoop(const For& node, const Value& iterable, const std::shared_ptr<Scope>& scope,
               int depth);
  Value MakeMacro(const Macro& macro);
  Value CallMacro(const Macro& macro, const std::shared_ptr<Scope>& scope, Arguments& arguments);
  void BindParameters(const Macro& macro, Arguments& arguments);
  // The current scope, to be kept by a value.
  std::shared_ptr<Scope> CaptureScope();

  // Expressions: expressions.cc.
  Value Evaluate(const Expression& expression);
  Value Evaluate(const ExpressionPtr& expression) { return Evaluate(*expression); }
  Value Compute(const Constant& node) { return node.value; }
  Value Compute(const Name& node);
  Value Compute(const SequenceDisplay& node);
  Value Compute(const DictDisplay& node);
  Value Compute(const Unary& node);
  Value Compute(const Binary& node);
  Value Compute(const Concatenation& node);
  Value Compute(const Comparison& node);
  Value Compute(const Conditional& node);
  Value Compute(const Attribute& node);
  Value Compute(const Subscript& node);
  Value Compute(const Slice& node);
  Value Compute(const Call& node);
  Value Compute(const Filter& node);
  Value Compute(const Test& node);

  Value CallWith(const Call& node, const Value* caller);
  Arguments EvaluateArguments(const CallArguments& arguments);

  Heap& heap_;
  std::shared_ptr<Scope> scope_;
  Buffer* out_ = nullptr;
  Value block_text_;  // what the filters of a block are applied to
  int line_ = 1;
  // Cleared at the end: variables of a scope may hold macros that hold the scope.
  std::vector<std::shared_ptr<Scope>> captured_;
};

}  // namespace fptq::jinja
