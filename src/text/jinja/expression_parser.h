// The expressions of a template.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace fptq::jinja {

// expression_parser.cc has the operators, operand_parser.cc what they are applied to.
class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, const std::string& where)
      : where_(where), tokens_(std::move(tokens)) {}

 protected:
  template <typename... Args>
  [[noreturn]] void FailAt(int line, fmt::format_string<Args...> format, Args&&... args) const {
    throw Error("{}: line {}: {}", where_, line, fmt::format(format, std::forward<Args>(args)...));
  }
  [[noreturn]] void FailUnexpected(std::string_view expected) const;

  const Token& Current() const { return tokens_[at_]; }
  const Token& Next() const { return tokens_[at_ + (at_ + 1 < tokens_.size() ? 1 : 0)]; }
  Token Take();
  bool Is(Token::Kind kind) const { return Current().kind == kind; }
  bool IsName(std::string_view name) const;
  bool IsOperator(std::string_view name) const;
  bool TakeName(std::string_view name);
  bool TakeOperator(std::string_view name);
  void ExpectOperator(std::string_view name);
  std::string ExpectName();  // any

  // An expression, or several with commas between them as a tuple. `end` names what ends it.
  ExpressionPtr ParseTuple(bool conditional = true, std::string_view end = {});
  ExpressionPtr ParseExpression() { return ParseConditional(); }
  ExpressionPtr ParseCall(ExpressionPtr callee);
  // "| name(...)" any number of times. `named`: the first name comes without its bar.
  ExpressionPtr ParseFilters(ExpressionPtr input, bool named = false);

  // A target of `set`, `for` and `with`.
  Target ParseTarget(bool with_fields, std::string_view end = {});
  Target ParseTargetItem(bool with_fields);

  // Unknown filters and tests are errors, but not where a condition may keep them from running.
  struct Unknown {
    int line;
    std::string message;
  };
  std::vector<Unknown> unknown_;
  bool guarded_ = false;                                    // directly within an if
  int loops_ = 0;                                           // that the current token is in
  bool varargs_ = false, kwargs_ = false, caller_ = false;  // names that were read

  const std::string& where_;

 private:
  // Of expressions within each other, each of which takes up to a dozen calls of the parser.
  class Nesting {
   public:
    explicit Nesting(ExpressionParser& parser) : parser_(parser) {
      constexpr int kMost = 100;
      if (++parser_.nesting_ > kMost) {
        parser_.FailAt(parser_.Current().line, "expressions nest deeper than {}", kMost);
      }
    }
    ~Nesting() { --parser_.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    ExpressionParser& parser_;
  };

  ExpressionPtr Make(int line, decltype(Expression::node) node) const;
  bool IsTupleEnd(std::string_view end) const;
  ExpressionPtr ParseConditional();
  ExpressionPtr ParseOr();
  ExpressionPtr ParseAnd();
  ExpressionPtr ParseNot();
  ExpressionPtr ParseComparison();
  ExpressionPtr ParseSum();
  ExpressionPtr ParseConcatenation();
  ExpressionPtr ParseProduct();
  ExpressionPtr ParsePower();
  ExpressionPtr ParseUnary(bool with_filters = true);
  ExpressionPtr ParsePrimary();
  ExpressionPtr ParseNumber();
  ExpressionPtr ParseStrings();
  ExpressionPtr ParseParentheses();
  ExpressionPtr ParseList();
  ExpressionPtr ParseDict();
  ExpressionPtr ParsePostfix(ExpressionPtr operand);
  ExpressionPtr ParseFiltersAndTests(ExpressionPtr operand);
  ExpressionPtr ParseDot(ExpressionPtr object);
  ExpressionPtr ParseSubscript(ExpressionPtr object);
  ExpressionPtr ParseTest(ExpressionPtr input);
  bool IsTestArgument() const;
  CallArguments ParseArguments();
  void ParseArgument(CallArguments& arguments);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
};

}  // namespace fptq::jinja
