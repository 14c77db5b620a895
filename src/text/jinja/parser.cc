#include "text/jinja/parser.h"

#include <algorithm>
#include <array>
#include <utility>

#include "text/jinja/expression_parser.h"

namespace fptq::jinja {
namespace {

using Kind = Token::Kind;

constexpr int kMaxDepth = 100;  // of blocks within each other

class Parser : private ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Body Run() {
    Body body = ParseBody({});
    if (!unknown_.empty()) FailAt(unknown_[0].line, "{}", unknown_[0].message);
    return body;
  }

 private:
  // Names that end a body.
  using Ends = std::initializer_list<std::string_view>;

  // Statements up to the block that one of `ends` begins; without any, to the end of the template.
  // The name is left to be taken.
  Body ParseBody(Ends ends) {
    if (++depth_ > kMaxDepth) FailAt(Current().line, "blocks nest deeper than {}", kMaxDepth);
    Body body;
    Output output;
    const auto flush = [&](int line) {
      if (!output.items.empty()) body.push_back({line, std::exchange(output, {})});
    };
    while (true) {
      const int line = Current().line;
      if (Is(Kind::kEnd)) {
        if (ends.size() > 0) FailUnexpected(fmt::format("'{}'", fmt::join(ends, "' or '")));
        flush(line);
        break;
      }
      if (Is(Kind::kData)) {
        output.items.push_back(ParseData());
      } else if (Is(Kind::kVariableBegin)) {
        Take();
        output.items.push_back(ParseTuple());
        Expect(Kind::kVariableEnd, "'}}'");
      } else {
        flush(line);
        Take();  // {%
        if (std::ranges::any_of(ends, [&](std::string_view end) { return IsName(end); })) break;
        body.push_back(ParseStatement());
        Expect(Kind::kBlockEnd, "'%}'");
      }
    }
    --depth_;
    return body;
  }

  ExpressionPtr ParseData() {
    Token token = Take();
    return std::make_unique<const Expression>(
        Expression{.line = token.line,
                   .depth = 1,
                   .node = Constant{std::make_shared<const String>(
                       String{.text = std::move(token.text), .markup = false, .charge = {}})}});
  }

  void Expect(Kind kind, std::string_view name) {
    if (!Is(kind)) FailUnexpected(name);
    Take();
  }

  // The rest of the block, and its body; then the name that ended it is taken.
  Body ParseBlock(Ends ends) {
    TakeOperator(":");
    Expect(Kind::kBlockEnd, "'%}'");
    Body body = ParseBody(ends);
    last_end_ = Take().name;
    return body;
  }
  // The same of a block that is a scope of its own.
  Body ParseScope(Ends ends) {
    const bool guarded = std::exchange(guarded_, false);
    Body body = ParseBlock(ends);
    guarded_ = guarded;
    return body;
  }
  // The same of one that breaks and continues of loops around it do not reach into.
  Body ParseFunction(Ends ends) {
    const int open_loops = std::exchange(open_loops_, 0);
    Body body = ParseScope(ends);
    open_loops_ = open_loops;
    return body;
  }
  void ParseMacroBody(Macro& macro, Ends ends) {
    const bool varargs = std::exchange(varargs_, false);
    const bool kwargs = std::exchange(kwargs_, false);
    const bool caller = std::exchange(caller_, false);
    macro.body = ParseFunction(ends);
    macro.uses_varargs = std::exchange(varargs_, varargs_ || varargs);
    macro.uses_kwargs = std::exchange(kwargs_, kwargs_ || kwargs);
    macro.uses_caller = std::exchange(caller_, caller_ || caller);
  }

  Statement ParseStatement() {
    struct Row {
      std::string_view name;
      Statement (Parser::*parse)(int line);
    };
    static constexpr Row kStatements[] = {
        {"if", &Parser::ParseIf},
        {"for", &Parser::ParseFor},
        {"set", &Parser::ParseSet},
        {"macro", &Parser::ParseMacro},
        {"call", &Parser::ParseCallBlock},
        {"filter", &Parser::ParseFilterBlock},
        {"with", &Parser::ParseWith},
        {"print", &Parser::ParsePrint},
        {"block", &Parser::ParseNamedBlock},
        {"generation", &Parser::ParseGeneration},
        {"break", &Parser::ParseBreak},
        {"continue", &Parser::ParseContinue},
    };
    const int line = Current().line;
    const std::string name = ExpectName();
    const auto* row = std::ranges::find(kStatements, name, &Row::name);
    if (row != std::end(kStatements)) return (this->*row->parse)(line);
    for (const std::string_view other : {"extends", "include", "import", "from", "autoescape"}) {
      if (name == other) FailAt(line, "'{}' is not supported: a chat template stands alone", name);
    }
    FailAt(line, "unknown or misplaced tag '{}'", Excerpt(name));
  }

  Statement ParseIf(int line) {
    const bool guarded = std::exchange(guarded_, true);
    If node;
    do {
      ExpressionPtr condition = ParseTuple(/*conditional=*/false);
      node.branches.push_back({std::move(condition), ParseBlock({"elif", "else", "endif"})});
    } while (last_end_ == "elif");
    if (last_end_ == "else") node.otherwise = ParseBlock({"endif"});
    guarded_ = guarded;
    return {line, std::move(node)};
  }

  Statement ParseFor(int line) {
    For node;
    ++loops_;
    node.target = ParseTarget(/*with_fields=*/false, "in");
    if (!TakeName("in")) FailUnexpected("'in'");
    node.iterable = ParseTuple(/*conditional=*/false, "recursive");
    if (TakeName("if")) node.condition = ParseExpression();
    node.recursive = TakeName("recursive");
    ++open_loops_;
    node.body = ParseScope({"endfor", "else"});
    --open_loops_;
    if (last_end_ == "else") node.otherwise = ParseScope({"endfor"});
    --loops_;
    return {line, std::move(node)};
  }

  Statement ParseSet(int line) {
    Target target = ParseTarget(/*with_fields=*/true);
    if (TakeOperator("=")) return {line, Set{std::move(target), ParseTuple()}};
    SetBlock node{.target = std::move(target), .filter = ParseFilters(nullptr), .body = {}};
    node.body = ParseScope({"endset"});
    return {line, std::move(node)};
  }

  Signature ParseSignature() {
    Signature signature;
    ExpectOperator("(");
    while (!IsOperator(")")) {
      if (!signature.names.empty()) ExpectOperator(",");
      const int line = Current().line;
      signature.names.push_back(ParseTargetItem(/*with_fields=*/false).name);
      if (TakeOperator("=")) {
        signature.defaults.push_back(ParseExpression());
      } else if (!signature.defaults.empty()) {
        FailAt(line, "a parameter without a default follows one with a default");
      }
    }
    ExpectOperator(")");
    return signature;
  }

  Statement ParseMacro(int line) {
    Macro node;
    node.name = ExpectName();
    node.signature = ParseSignature();
    ParseMacroBody(node, {"endmacro"});
    return {line, std::move(node)};
  }

  Statement ParseCallBlock(int line) {
    CallBlock node;
    node.caller.name = "caller";
    if (IsOperator("(")) node.caller.signature = ParseSignature();
    node.call = ParseExpression();
    if (!std::holds_alternative<Call>(node.call->node)) FailAt(line, "expected a call");
    ParseMacroBody(node.caller, {"endcall"});
    return {line, std::move(node)};
  }

  Statement ParseFilterBlock(int line) {
    FilterBlock node{.filter = ParseFilters(nullptr, /*named=*/true), .body = {}};
    node.body = ParseScope({"endfilter"});
    return {line, std::move(node)};
  }

  Statement ParseWith(int line) {
    With node;
    while (!Is(Kind::kBlockEnd)) {
      if (!node.values.empty()) ExpectOperator(",");
      Target target = ParseTargetItem(/*with_fields=*/false);
      ExpectOperator("=");
      node.values.emplace_back(std::move(target), ParseExpression());
    }
    node.body = ParseScope({"endwith"});
    return {line, std::move(node)};
  }

  Statement ParsePrint(int line) {
    Output node;
    while (!Is(Kind::kBlockEnd)) {
      if (!node.items.empty()) ExpectOperator(",");
      node.items.push_back(ParseExpression());
    }
    return {line, std::move(node)};
  }

  // No template extends this one, so a block is what stands in it.
  Statement ParseNamedBlock(int line) {
    const std::string name = ExpectName();
    TakeName("scoped");
    Scoped node{.body = ParseFunction({"endblock"})};
    TakeName(name);
    return {line, std::move(node)};
  }

  // Marks the text of the assistant for training.
  Statement ParseGeneration(int line) { return {line, Scoped{ParseFunction({"endgeneration"})}}; }

  Statement ParseBreak(int line) {
    if (open_loops_ == 0) FailAt(line, "'break' outside of a loop");
    return {line, Break{}};
  }
  Statement ParseContinue(int line) {
    if (open_loops_ == 0) FailAt(line, "'continue' outside of a loop");
    return {line, Continue{}};
  }

  int depth_ = 0;
  int open_loops_ = 0;  // that break and continue reach
  std::string last_end_;
};

}  // namespace

Body ParseTemplate(std::vector<Token> tokens, const std::string& where) {
  return Parser(std::move(tokens), where).Run();
}

}  // namespace fptq::jinja
