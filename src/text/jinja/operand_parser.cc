#include <charconv>
#include <utility>

#include "text/jinja/expression_parser.h"
#include "text/jinja/filters.h"
#include "text/jinja/tests.h"

namespace fptq::jinja {
using Kind = Token::Kind;

ExpressionPtr ExpressionParser::ParsePrimary() {
  const int line = Current().line;
  if (Is(Kind::kName)) {
    std::string name = Take().name;
    if (name == "true" || name == "True") return Make(line, Constant{true});
    if (name == "false" || name == "False") return Make(line, Constant{false});
    if (name == "none" || name == "None") return Make(line, Constant{None{}});
    varargs_ |= name == "varargs";
    kwargs_ |= name == "kwargs";
    caller_ |= name == "caller";
    return Make(line, Name{std::move(name)});
  }
  if (Is(Kind::kString)) return ParseStrings();
  if (Is(Kind::kInteger) || Is(Kind::kFloat)) return ParseNumber();
  if (IsOperator("(")) return ParseParentheses();
  if (IsOperator("[")) return ParseList();
  if (IsOperator("{")) return ParseDict();
  FailUnexpected("an expression");
}

ExpressionPtr ExpressionParser::ParseStrings() {
  const int line = Current().line;
  Text text;
  while (Is(Kind::kString)) text += Take().text;
  return Make(line, Constant{std::make_shared<const String>(
                        String{.text = std::move(text), .markup = false, .charge = {}})});
}

ExpressionPtr ExpressionParser::ParseNumber() {
  const Token token = Take();
  std::string_view digits = token.name;
  const auto make = [&](auto value, std::from_chars_result result) {
    if (result.ec != std::errc()) FailAt(token.line, "the number {} is too large", digits);
    return Make(token.line, Constant{value});
  };
  if (token.kind == Kind::kFloat) {
    double value = 0;
    const char* end = digits.data() + digits.size();
    const std::from_chars_result result = std::from_chars(digits.data(), end, value);
    return make(value, result);
  }
  int base = 10;
  if (digits.size() > 2 && digits[0] == '0') {
    base = digits[1] == 'x' || digits[1] == 'X'   ? 16
           : digits[1] == 'o' || digits[1] == 'O' ? 8
           : digits[1] == 'b' || digits[1] == 'B' ? 2
                                                  : 10;
    if (base != 10) digits.remove_prefix(2);
  }
  int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const std::from_chars_result result = std::from_chars(digits.data(), end, value, base);
  return make(value, result);
}

ExpressionPtr ExpressionParser::ParseParentheses() {
  const int line = Current().line;
  ExpectOperator("(");
  if (TakeOperator(")")) return Make(line, SequenceDisplay{.is_tuple = true, .items = {}});
  ExpressionPtr result = ParseTuple();
  ExpectOperator(")");
  return result;
}

ExpressionPtr ExpressionParser::ParseList() {
  const int line = Current().line;
  ExpectOperator("[");
  SequenceDisplay list{.is_tuple = false, .items = {}};
  while (!IsOperator("]")) {
    if (!list.items.empty()) ExpectOperator(",");
    if (IsOperator("]")) break;
    list.items.push_back(ParseExpression());
  }
  ExpectOperator("]");
  return Make(line, std::move(list));
}

ExpressionPtr ExpressionParser::ParseDict() {
  const int line = Current().line;
  ExpectOperator("{");
  DictDisplay dict;
  while (!IsOperator("}")) {
    if (!dict.items.empty()) ExpectOperator(",");
    if (IsOperator("}")) break;
    ExpressionPtr key = ParseExpression();
    ExpectOperator(":");
    dict.items.emplace_back(std::move(key), ParseExpression());
  }
  ExpectOperator("}");
  return Make(line, std::move(dict));
}

ExpressionPtr ExpressionParser::ParsePostfix(ExpressionPtr operand) {
  while (true) {
    if (IsOperator(".")) {
      operand = ParseDot(std::move(operand));
    } else if (IsOperator("[")) {
      operand = ParseSubscript(std::move(operand));
    } else if (IsOperator("(")) {
      operand = ParseCall(std::move(operand));
    } else {
      return operand;
    }
  }
}

ExpressionPtr ExpressionParser::ParseFiltersAndTests(ExpressionPtr operand) {
  while (true) {
    if (IsOperator("|")) {
      operand = ParseFilters(std::move(operand));
    } else if (IsName("is")) {
      operand = ParseTest(std::move(operand));
    } else if (IsOperator("(")) {
      operand = ParseCall(std::move(operand));
    } else {
      return operand;
    }
  }
}

ExpressionPtr ExpressionParser::ParseDot(ExpressionPtr object) {
  const int line = Current().line;
  ExpectOperator(".");
  if (Is(Kind::kInteger)) {
    ExpressionPtr index = ParseNumber();
    return Make(line, Subscript{std::move(object), std::move(index)});
  }
  return Make(line, Attribute{std::move(object), ExpectName()});
}

ExpressionPtr ExpressionParser::ParseSubscript(ExpressionPtr object) {
  const int line = Current().line;
  ExpectOperator("[");
  const auto is_end = [&] { return IsOperator(":") || IsOperator("]") || IsOperator(","); };
  ExpressionPtr first;
  if (!is_end()) first = ParseExpression();
  if (TakeOperator(":")) {
    Slice slice{.object = std::move(object), .start = std::move(first), .stop = {}, .step = {}};
    if (!is_end()) slice.stop = ParseExpression();
    if (TakeOperator(":") && !is_end()) slice.step = ParseExpression();
    ExpectOperator("]");
    return Make(line, std::move(slice));
  }
  if (first == nullptr) FailUnexpected("an index");
  if (IsOperator(",")) {
    SequenceDisplay tuple{.is_tuple = true, .items = {}};
    tuple.items.push_back(std::move(first));
    while (TakeOperator(",")) {
      tuple.items.push_back(ParseExpression());
    }
    first = Make(line, std::move(tuple));
  }
  ExpectOperator("]");
  return Make(line, Subscript{std::move(object), std::move(first)});
}

ExpressionPtr ExpressionParser::ParseCall(ExpressionPtr callee) {
  const int line = Current().line;
  CallArguments arguments = ParseArguments();
  return Make(line, Call{std::move(callee), std::move(arguments)});
}

CallArguments ExpressionParser::ParseArguments() {
  ExpectOperator("(");
  CallArguments arguments;
  for (bool first = true; !IsOperator(")"); first = false) {
    if (!first) ExpectOperator(",");
    if (IsOperator(")")) break;
    ParseArgument(arguments);
  }
  ExpectOperator(")");
  return arguments;
}

void ExpressionParser::ParseArgument(CallArguments& arguments) {
  const int line = Current().line;
  const auto check_order = [&](bool allowed) {
    if (!allowed) FailAt(line, "an argument of the call stands in the wrong place");
  };
  check_order(arguments.more_keywords == nullptr);
  if (TakeOperator("**")) {
    arguments.more_keywords = ParseExpression();
  } else if (TakeOperator("*")) {
    check_order(arguments.more_positional == nullptr);
    arguments.more_positional = ParseExpression();
  } else if (Is(Kind::kName) && Next().kind == Kind::kOperator && Next().name == "=") {
    std::string name = Take().name;
    Take();
    for (const auto& [other, value] : arguments.keywords) {
      if (other == name) FailAt(line, "the argument '{}' is given twice", name);
    }
    arguments.keywords.emplace_back(std::move(name), ParseExpression());
  } else {
    check_order(arguments.more_positional == nullptr && arguments.keywords.empty());
    arguments.positional.push_back(ParseExpression());
  }
}

ExpressionPtr ExpressionParser::ParseFilters(ExpressionPtr input, bool named) {
  while (named || TakeOperator("|")) {
    named = false;
    const int line = Current().line;
    std::string name = ExpectName();
    while (TakeOperator(".")) name.append(".").append(ExpectName());
    if (FindFilter(name) == nullptr && !guarded_) {
      unknown_.push_back({line, fmt::format("there is no filter '{}'", Excerpt(name))});
    }
    CallArguments arguments;
    if (IsOperator("(")) arguments = ParseArguments();
    input = Make(line, Filter{std::move(input), std::move(name), std::move(arguments)});
  }
  return input;
}

ExpressionPtr ExpressionParser::ParseTest(ExpressionPtr input) {
  const int line = Current().line;
  Take();
  const bool negated = TakeName("not");
  std::string name = ExpectName();
  while (TakeOperator(".")) name.append(".").append(ExpectName());
  if (FindTest(name) == nullptr && !guarded_) {
    unknown_.push_back({line, fmt::format("there is no test '{}'", Excerpt(name))});
  }
  CallArguments arguments;
  if (IsOperator("(")) {
    arguments = ParseArguments();
  } else if (IsTestArgument()) {
    if (IsName("is")) FailAt(line, "tests cannot be chained with 'is'");
    arguments.positional.push_back(ParsePostfix(ParsePrimary()));
  }
  ExpressionPtr test = Make(line, Test{std::move(input), std::move(name), std::move(arguments)});
  if (!negated) return test;
  return Make(line, Unary{UnaryOperator::kNot, std::move(test)});
}

// Whether an argument without parentheses follows, as in "is divisibleby 3".
bool ExpressionParser::IsTestArgument() const {
  if (Is(Kind::kName)) return !IsName("else") && !IsName("or") && !IsName("and");
  return Is(Kind::kString) || Is(Kind::kInteger) || Is(Kind::kFloat) || IsOperator("[") ||
         IsOperator("{");
}

Target ExpressionParser::ParseTarget(bool with_fields, std::string_view end) {
  Target first = ParseTargetItem(with_fields);
  if (!IsOperator(",")) return first;
  Target tuple;
  tuple.items.push_back(std::move(first));
  while (TakeOperator(",") && !IsTupleEnd(end) && !IsOperator("=")) {
    tuple.items.push_back(ParseTargetItem(with_fields));
  }
  return tuple;
}

Target ExpressionParser::ParseTargetItem(bool with_fields) {
  const Nesting nesting(*this);
  if (TakeOperator("(")) {
    Target target = ParseTarget(with_fields);
    ExpectOperator(")");
    return target;
  }
  const int line = Current().line;
  Target target{.name = ExpectName(), .field = {}, .items = {}};
  if (with_fields && TakeOperator(".")) {
    target.field = ExpectName();
    return target;
  }
  for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
    if (target.name == constant) FailAt(line, "cannot assign to '{}'", constant);
  }
  if (loops_ > 0 && target.name == "loop") FailAt(line, "cannot assign to 'loop' within a loop");
  return target;
}

}  // namespace fptq::jinja
