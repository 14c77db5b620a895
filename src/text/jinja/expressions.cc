#include "text/jinja/filters.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/lexer.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"
#include "text/jinja/tests.h"

namespace fptq::jinja {

Value Interpreter::Evaluate(const Expression& expression) {
  const Heap::Level level(heap_);
  heap_.Step();
  line_ = expression.line;
  return std::visit([&](const auto& node) { return Compute(node); }, expression.node);
}

Value Interpreter::Compute(const Name& node) {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    heap_.Work(1 + scope->variables.size() / 8);
    for (const auto& [name, value] : scope->variables) {
      if (name == node.name) return value;
    }
  }
  return Undefined{.name = &node.name};
}

Value Interpreter::Compute(const SequenceDisplay& node) {
  std::vector<Value> items;
  for (const ExpressionPtr& item : node.items) items.push_back(Evaluate(item));
  return node.is_tuple ? heap_.MakeTuple(std::move(items)) : heap_.MakeList(std::move(items));
}

Value Interpreter::Compute(const DictDisplay& node) {
  std::vector<std::pair<Value, Value>> items;
  for (const auto& [key_expression, value_expression] : node.items) {
    Value key = Evaluate(key_expression);
    items.emplace_back(std::move(key), Evaluate(value_expression));
  }
  return heap_.MakeDict(std::move(items));
}

Value Interpreter::Compute(const Unary& node) {
  const Value operand = Evaluate(node.operand);
  switch (node.op) {
    case UnaryOperator::kNot:
      return !IsTrue(operand);
    case UnaryOperator::kMinus:
      return Negate(operand);
    case UnaryOperator::kPlus:
      return Posit(operand);
  }
  return {};
}

Value Interpreter::Compute(const Binary& node) {
  Value left = Evaluate(node.left);
  if (node.op == BinaryOperator::kAnd) return IsTrue(left) ? Evaluate(node.right) : left;
  if (node.op == BinaryOperator::kOr) return IsTrue(left) ? left : Evaluate(node.right);
  return Calculate(heap_, node.op, left, Evaluate(node.right));
}

Value Interpreter::Compute(const Concatenation& node) {
  Text text;
  for (const ExpressionPtr& item : node.items) AppendStr(heap_, Evaluate(item), text);
  return heap_.MakeString(std::move(text));
}

Value Interpreter::Compute(const Comparison& node) {
  Value left = Evaluate(node.first);
  for (const auto& [comparator, expression] : node.rest) {
    Value right = Evaluate(expression);
    if (!Compare(heap_, comparator, left, right)) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::Compute(const Conditional& node) {
  if (IsTrue(Evaluate(node.condition))) return Evaluate(node.then);
  static const std::string kElse = "the 'else' of an inline 'if'";
  return node.otherwise == nullptr ? Undefined{.name = &kElse} : Evaluate(node.otherwise);
}

Value Interpreter::Compute(const Attribute& node) {
  return GetAttribute(heap_, Evaluate(node.object), node.name);
}

Value Interpreter::Compute(const Subscript& node) {
  const Value object = Evaluate(node.object);
  return GetItem(heap_, object, Evaluate(node.index));
}

Value Interpreter::Compute(const Slice& node) {
  const auto part = [&](const ExpressionPtr& expression) {
    return expression == nullptr ? Value(None{}) : Evaluate(expression);
  };
  const Value object = Evaluate(node.object);
  const Value start = part(node.start), stop = part(node.stop), step = part(node.step);
  return GetSlice(heap_, object, start, stop, step);
}

Value Interpreter::Compute(const Call& node) { return CallWith(node, /*caller=*/nullptr); }

Value Interpreter::CallWith(const Call& node, const Value* caller) {
  const Value callee = Evaluate(node.callee);
  Arguments arguments = EvaluateArguments(node.arguments);
  if (caller != nullptr) arguments.keywords.emplace_back("caller", *caller);
  CheckDefined(callee);
  if (NativeObject* native = callee.AsNative()) return native->Call(heap_, arguments);
  const Callable* callable = callee.AsCallable();
  if (callable == nullptr) {
    throw Failure("a value of the type '{}' cannot be called", TypeName(callee));
  }
  arguments.callee = callable->name;
  return callable->call(heap_, arguments);
}

Arguments Interpreter::EvaluateArguments(const CallArguments& arguments) {
  Arguments result;
  for (const ExpressionPtr& argument : arguments.positional) {
    result.positional.push_back(Evaluate(argument));
  }
  for (const auto& [name, argument] : arguments.keywords) {
    result.keywords.emplace_back(name, Evaluate(argument));
  }
  if (arguments.more_positional != nullptr) {
    const std::vector<Value> more = Iterate(heap_, Evaluate(arguments.more_positional));
    result.positional.insert(result.positional.end(), more.begin(), more.end());
  }
  if (arguments.more_keywords != nullptr) {
    const Value more = Evaluate(arguments.more_keywords);
    if (more.AsDict() == nullptr) throw Failure("what stands after '**' is no mapping");
    for (const auto& [name, value] : more.AsDict()->items) {
      result.keywords.emplace_back(ToUtf8(ToText(name)), value);
    }
  }
  return result;
}

Value Interpreter::Compute(const Filter& node) {
  const Value input = node.input == nullptr ? block_text_ : Evaluate(node.input);
  Arguments arguments = EvaluateArguments(node.arguments);
  const FilterFunction filter = FindFilter(node.name);
  if (filter == nullptr) throw Failure("there is no filter '{}'", node.name);
  arguments.callee = node.name;
  return filter(heap_, input, arguments);
}

Value Interpreter::Compute(const Test& node) {
  const Value input = Evaluate(node.input);
  Arguments arguments = EvaluateArguments(node.arguments);
  const TestFunction test = FindTest(node.name);
  if (test == nullptr) throw Failure("there is no test '{}'", node.name);
  arguments.callee = node.name;
  const bool result = test(heap_, input, arguments);
  arguments.Finish();
  return result;
}

}  // namespace fptq::jinja
