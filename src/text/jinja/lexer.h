// A template's source to tokens. Block ends take a newline with them and blocks the spaces before
// them on their line (trim_blocks, lstrip_blocks), as for all chat templates.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/text.h"

namespace fptq::jinja {

struct Token {
  enum class Kind {
    kData,
    kBlockBegin,
    kBlockEnd,
    kVariableBegin,
    kVariableEnd,
    kName,
    kInteger,
    kFloat,
    kString,
    kOperator,
    kEnd,
  };
  Kind kind;
  int line;
  std::string name;  // kName, kOperator; of numbers the digits
  Text text;         // kData, kString
};

// The last token is kEnd. `where` names the template in errors.
std::vector<Token> Tokenize(std::string_view source, const std::string& where);

// `text` as it may stand in a message: printable, on one line, not too long.
std::string Excerpt(std::string_view text);

}  // namespace fptq::jinja
