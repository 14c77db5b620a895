// Regular expressions of other dialects, put into PCRE2's.
#pragma once

#include <string>
#include <string_view>

#include "base/regex.h"

namespace fptq {

// Error naming `where` and what of the pattern means something else to PCRE2 and is not translated.
std::string ToPcre2Syntax(std::string_view pattern, std::string_view where, RegexSyntax syntax);

// The pattern, or the beginning of a long one, for messages.
std::string Excerpt(std::string_view pattern);

}  // namespace fptq
