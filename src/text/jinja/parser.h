// Tokens to a template.
#pragma once

#include <string>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace fptq::jinja {

// Error that names `where` and the line if the tokens make no template, or it asks for what there
// is not: other templates, unknown filters and tests.
Body ParseTemplate(std::vector<Token> tokens, const std::string& where);

}  // namespace fptq::jinja
