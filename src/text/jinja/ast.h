// A parsed template: expressions and statements.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/value.h"

namespace fptq::jinja {

struct Expression;
struct Statement;
using ExpressionPtr = std::unique_ptr<const Expression>;
using Body = std::vector<Statement>;

// Arguments as they stand in a call.
struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  ExpressionPtr more_positional;  // *x; may be absent
  ExpressionPtr more_keywords;    // **x; may be absent
};

struct Constant {
  Value value;
};
struct Name {
  std::string name;
};
struct SequenceDisplay {
  bool is_tuple;
  std::vector<ExpressionPtr> items;
};
struct DictDisplay {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> items;
};
enum class UnaryOperator { kNot, kMinus, kPlus };
struct Unary {
  UnaryOperator op;
  ExpressionPtr operand;
};
enum class BinaryOperator { kAnd, kOr, kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };
struct Binary {
  BinaryOperator op;
  ExpressionPtr left, right;
};
struct Concatenation {
  std::vector<ExpressionPtr> items;
};
enum class Comparator { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };
struct Comparison {  // a < b < c
  ExpressionPtr first;
  std::vector<std::pair<Comparator, ExpressionPtr>> rest;
};
struct Conditional {
  ExpressionPtr condition, then, otherwise;  // `otherwise` may be absent
};
struct Attribute {
  ExpressionPtr object;
  std::string name;
};
struct Subscript {
  ExpressionPtr object, index;
};
struct Slice {
  ExpressionPtr object, start, stop, step;  // the last three may be absent
};
struct Call {
  ExpressionPtr callee;
  CallArguments arguments;
};
struct Filter {
  ExpressionPtr input;  // absent: the text of the block that is filtered
  std::string name;
  CallArguments arguments;
};
struct Test {
  ExpressionPtr input;
  std::string name;
  CallArguments arguments;
};

struct Expression {
  int line;
  int depth;  // of nesting
  std::variant<Constant, Name, SequenceDisplay, DictDisplay, Unary, Binary, Concatenation,
               Comparison, Conditional, Attribute, Subscript, Slice, Call, Filter, Test>
      node;
};

// Calls visit(child) for the expressions that stand directly in `node`.
template <typename Visit>
void ForEachChild(const decltype(Expression::node)& node, Visit visit) {
  const auto one = [&](const ExpressionPtr& child) {
    if (child != nullptr) visit(*child);
  };
  const auto all = [&](const std::vector<ExpressionPtr>& children) {
    for (const ExpressionPtr& child : children) one(child);
  };
  const auto in_call = [&](const CallArguments& arguments) {
    all(arguments.positional);
    for (const auto& [name, value] : arguments.keywords) one(value);
    one(arguments.more_positional);
    one(arguments.more_keywords);
  };
  std::visit(
      [&]<typename T>(const T& n) {
        if constexpr (std::is_same_v<T, SequenceDisplay> || std::is_same_v<T, Concatenation>) {
          all(n.items);
        } else if constexpr (std::is_same_v<T, DictDisplay>) {
          for (const auto& [key, value] : n.items) {
            one(key);
            one(value);
          }
        } else if constexpr (std::is_same_v<T, Unary>) {
          one(n.operand);
        } else if constexpr (std::is_same_v<T, Binary>) {
          one(n.left);
          one(n.right);
        } else if constexpr (std::is_same_v<T, Comparison>) {
          one(n.first);
          for (const auto& [op, operand] : n.rest) one(operand);
        } else if constexpr (std::is_same_v<T, Conditional>) {
          one(n.condition);
          one(n.then);
          one(n.otherwise);
        } else if constexpr (std::is_same_v<T, Attribute>) {
          one(n.object);
        } else if constexpr (std::is_same_v<T, Subscript>) {
          one(n.object);
          one(n.index);
        } else if constexpr (std::is_same_v<T, Slice>) {
          one(n.object);
          one(n.start);
          one(n.stop);
          one(n.step);
        } else if constexpr (std::is_same_v<T, Call>) {
          one(n.callee);
          in_call(n.arguments);
        } else if constexpr (requires { n.input; }) {
          one(n.input);
          in_call(n.arguments);
        }
      },
      node);
}

// What is assigned to: a name, a field of a namespace, or several of them.
struct Target {
  std::string name;
  std::string field;          // empty if it is none
  std::vector<Target> items;  // of a tuple; then the name is empty
};

// The parameters of a macro; the last of them have defaults.
struct Signature {
  std::vector<std::string> names;
  std::vector<ExpressionPtr> defaults;
};

struct Output {
  std::vector<ExpressionPtr> items;
};
struct Set {
  Target target;
  ExpressionPtr value;
};
struct SetBlock {
  Target target;
  ExpressionPtr filter;  // may be absent
  Body body;
};
struct For {
  Target target;
  ExpressionPtr iterable;
  ExpressionPtr condition;  // may be absent
  bool recursive;
  Body body, otherwise;
};
struct If {
  struct Branch {
    ExpressionPtr condition;
    Body body;
  };
  std::vector<Branch> branches;
  Body otherwise;
};
struct Macro {
  std::string name;
  Signature signature;
  Body body;
  // Whether the body names what a call may give beside the parameters.
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};
struct CallBlock {
  Macro caller;
  ExpressionPtr call;  // is a Call
};
struct FilterBlock {
  ExpressionPtr filter;
  Body body;
};
struct With {
  std::vector<std::pair<Target, ExpressionPtr>> values;
  Body body;
};
struct Scoped {  // {% generation %}, {% block %}
  Body body;
};
struct Break {};
struct Continue {};

struct Statement {
  int line;
  std::variant<Output, Set, SetBlock, For, If, Macro, CallBlock, FilterBlock, With, Scoped, Break,
               Continue>
      node;
};

}  // namespace fptq::jinja
