#include "text/jinja/expression_parser.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace fptq::jinja {
namespace {

using Kind = Token::Kind;

// Of the tree, which a chain of operators makes deep, too.
constexpr int kMaxDepth = 250;

template <typename T>
struct Row {
  std::string_view name;
  T op;
};
constexpr Row<Comparator> kComparators[] = {{"==", Comparator::kEq}, {"!=", Comparator::kNe},
                                            {"<", Comparator::kLt},  {"<=", Comparator::kLe},
                                            {">", Comparator::kGt},  {">=", Comparator::kGe}};
constexpr Row<BinaryOperator> kProducts[] = {{"*", BinaryOperator::kMul},
                                             {"/", BinaryOperator::kDiv},
                                             {"//", BinaryOperator::kFloorDiv},
                                             {"%", BinaryOperator::kMod}};
constexpr Row<BinaryOperator> kSums[] = {{"+", BinaryOperator::kAdd}, {"-", BinaryOperator::kSub}};

template <typename T, size_t n>
std::optional<T> FindOperator(const Row<T> (&rows)[n], const Token& token) {
  if (token.kind != Kind::kOperator) return std::nullopt;
  for (const Row<T>& row : rows) {
    if (row.name == token.name) return row.op;
  }
  return std::nullopt;
}

std::string Describe(const Token& token) {
  switch (token.kind) {
    case Kind::kData:
      return "text";
    case Kind::kBlockBegin:
      return "'{%'";
    case Kind::kBlockEnd:
      return "'%}'";
    case Kind::kVariableBegin:
      return "'{{'";
    case Kind::kVariableEnd:
      return "'}}'";
    case Kind::kString:
      return "a string";
    case Kind::kEnd:
      return "the end of the template";
    case Kind::kName:
    case Kind::kInteger:
    case Kind::kFloat:
    case Kind::kOperator:
      break;
  }
  return fmt::format("'{}'", Excerpt(token.name));
}

}  // namespace

void ExpressionParser::FailUnexpected(std::string_view expected) const {
  FailAt(Current().line, "expected {}, found {}", expected, Describe(Current()));
}

Token ExpressionParser::Take() { return Is(Kind::kEnd) ? Current() : std::move(tokens_[at_++]); }

bool ExpressionParser::IsName(std::string_view name) const {
  return Is(Kind::kName) && Current().name == name;
}
bool ExpressionParser::IsOperator(std::string_view name) const {
  return Is(Kind::kOperator) && Current().name == name;
}
bool ExpressionParser::TakeName(std::string_view name) {
  const bool found = IsName(name);
  if (found) Take();
  return found;
}
bool ExpressionParser::TakeOperator(std::string_view name) {
  const bool found = IsOperator(name);
  if (found) Take();
  return found;
}
void ExpressionParser::ExpectOperator(std::string_view name) {
  if (!TakeOperator(name)) FailUnexpected(fmt::format("'{}'", name));
}
std::string ExpressionParser::ExpectName() {
  if (!Is(Kind::kName)) FailUnexpected("a name");
  return Take().name;
}

ExpressionPtr ExpressionParser::Make(int line, decltype(Expression::node) node) const {
  int depth = 0;
  ForEachChild(node, [&](const Expression& child) { depth = std::max(depth, child.depth); });
  if (depth >= kMaxDepth) FailAt(line, "expressions nest deeper than {}", kMaxDepth);
  return std::make_unique<const Expression>(
      Expression{.line = line, .depth = depth + 1, .node = std::move(node)});
}

bool ExpressionParser::IsTupleEnd(std::string_view end) const {
  return Is(Kind::kVariableEnd) || Is(Kind::kBlockEnd) || IsOperator(")") ||
         (!end.empty() && IsName(end));
}

ExpressionPtr ExpressionParser::ParseTuple(bool conditional, std::string_view end) {
  const int line = Current().line;
  const auto parse = [&] { return conditional ? ParseConditional() : ParseOr(); };
  if (IsTupleEnd(end)) FailUnexpected("an expression");
  ExpressionPtr first = parse();
  if (!IsOperator(",")) return first;
  SequenceDisplay tuple{.is_tuple = true, .items = {}};
  tuple.items.push_back(std::move(first));
  while (TakeOperator(",") && !IsTupleEnd(end)) {
    tuple.items.push_back(parse());
  }
  return Make(line, std::move(tuple));
}

ExpressionPtr ExpressionParser::ParseConditional() {
  const Nesting nesting(*this);
  const size_t unknown = unknown_.size();
  int line = Current().line;
  ExpressionPtr then = ParseOr();
  while (TakeName("if")) {
    ExpressionPtr condition = ParseOr();
    ExpressionPtr otherwise;
    if (TakeName("else")) otherwise = ParseConditional();
    then = Make(line, Conditional{.condition = std::move(condition),
                                  .then = std::move(then),
                                  .otherwise = std::move(otherwise)});
    unknown_.resize(unknown);  // whether they run depends on the condition
    line = Current().line;
  }
  return then;
}

ExpressionPtr ExpressionParser::ParseOr() {
  const int line = Current().line;
  ExpressionPtr left = ParseAnd();
  while (TakeName("or")) {
    ExpressionPtr right = ParseAnd();
    left = Make(line, Binary{BinaryOperator::kOr, std::move(left), std::move(right)});
  }
  return left;
}

ExpressionPtr ExpressionParser::ParseAnd() {
  const int line = Current().line;
  ExpressionPtr left = ParseNot();
  while (TakeName("and")) {
    ExpressionPtr right = ParseNot();
    left = Make(line, Binary{BinaryOperator::kAnd, std::move(left), std::move(right)});
  }
  return left;
}

ExpressionPtr ExpressionParser::ParseNot() {
  const int line = Current().line;
  if (!TakeName("not")) return ParseComparison();
  const Nesting nesting(*this);
  ExpressionPtr operand = ParseNot();
  return Make(line, Unary{UnaryOperator::kNot, std::move(operand)});
}

ExpressionPtr ExpressionParser::ParseComparison() {
  const int line = Current().line;
  ExpressionPtr first = ParseSum();
  Comparison comparison;
  while (true) {
    std::optional<Comparator> op = FindOperator(kComparators, Current());
    if (op) {
      Take();
    } else if (TakeName("in")) {
      op = Comparator::kIn;
    } else if (IsName("not") && Next().kind == Kind::kName && Next().name == "in") {
      Take();
      Take();
      op = Comparator::kNotIn;
    } else {
      break;
    }
    comparison.rest.emplace_back(*op, ParseSum());
  }
  if (comparison.rest.empty()) return first;
  comparison.first = std::move(first);
  return Make(line, std::move(comparison));
}

ExpressionPtr ExpressionParser::ParseSum() {
  const int line = Current().line;
  ExpressionPtr left = ParseConcatenation();
  while (const auto op = FindOperator(kSums, Current())) {
    Take();
    ExpressionPtr right = ParseConcatenation();
    left = Make(line, Binary{*op, std::move(left), std::move(right)});
  }
  return left;
}

ExpressionPtr ExpressionParser::ParseConcatenation() {
  const int line = Current().line;
  ExpressionPtr first = ParseProduct();
  if (!IsOperator("~")) return first;
  Concatenation result;
  result.items.push_back(std::move(first));
  while (TakeOperator("~")) {
    result.items.push_back(ParseProduct());
  }
  return Make(line, std::move(result));
}

ExpressionPtr ExpressionParser::ParseProduct() {
  const int line = Current().line;
  ExpressionPtr left = ParsePower();
  while (const auto op = FindOperator(kProducts, Current())) {
    Take();
    ExpressionPtr right = ParsePower();
    left = Make(line, Binary{*op, std::move(left), std::move(right)});
  }
  return left;
}

ExpressionPtr ExpressionParser::ParsePower() {
  const int line = Current().line;
  ExpressionPtr left = ParseUnary();
  while (TakeOperator("**")) {
    ExpressionPtr right = ParseUnary();
    left = Make(line, Binary{BinaryOperator::kPow, std::move(left), std::move(right)});
  }
  return left;
}

ExpressionPtr ExpressionParser::ParseUnary(bool with_filters) {
  const int line = Current().line;
  ExpressionPtr operand;
  if (IsOperator("-") || IsOperator("+")) {
    const Nesting nesting(*this);
    const UnaryOperator op = Take().name == "-" ? UnaryOperator::kMinus : UnaryOperator::kPlus;
    operand = ParseUnary(/*with_filters=*/false);
    operand = Make(line, Unary{op, std::move(operand)});
  } else {
    operand = ParsePrimary();
  }
  operand = ParsePostfix(std::move(operand));
  return with_filters ? ParseFiltersAndTests(std::move(operand)) : std::move(operand);
}

}  // namespace fptq::jinja
