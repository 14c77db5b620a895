#include "text/jinja/template.h"

#include "base/error.h"
#include "text/jinja/functions.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/lexer.h"
#include "text/jinja/parser.h"

namespace fptq::jinja {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;

std::tm LocalTime() {
  const std::time_t now = std::time(nullptr);
  std::tm result{};
  localtime_r(&now, &result);
  return result;
}

}  // namespace

Template Template::Parse(std::string_view source, std::string where) {
  if (source.size() > kMaxBytes) {
    throw Error("{}: expected a template of at most {} bytes, found {}", where, kMaxBytes,
                source.size());
  }
  Template result;
  std::vector<Token> tokens = Tokenize(source, where);
  for (const Token& token : tokens) {
    if (token.text.empty()) continue;
    result.literals_ += ToUtf8(token.text);
    result.literals_ += '\0';
  }
  result.body_ = std::make_shared<const Body>(ParseTemplate(std::move(tokens), where));
  result.where_ = std::move(where);
  return result;
}

Text Template::Render(FunctionRef<Variables(Heap&)> make_variables, const Options& options) const {
  Heap heap(options.limits);
  const auto globals = std::make_shared<Scope>(heap, nullptr);
  int line = 1;
  try {
    globals->variables = MakeFunctions(heap, options.now ? *options.now : LocalTime());
    const auto variables = std::make_shared<Scope>(heap, globals);
    variables->variables = make_variables(heap);
    Interpreter interpreter(heap, variables);
    try {
      return interpreter.Run(*body_);
    } catch (const Failure&) {
      line = interpreter.line();
      throw;
    }
  } catch (const Failure& failure) {
    throw Error("{}: line {}: {}", where_, line, Excerpt(failure.what()));
  }
}

}  // namespace fptq::jinja
