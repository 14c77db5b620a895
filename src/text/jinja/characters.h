// What Python's str knows of characters.
#pragma once

#include "text/jinja/text.h"

namespace fptq::jinja {

bool IsSpace(char32_t c);  // str.isspace: what strip and split take away
bool IsLineBreak(char32_t c);
bool IsPrintable(char32_t c);
bool IsAlphabetic(char32_t c);
bool IsDecimal(char32_t c);
bool IsDigit(char32_t c);
bool IsNumeric(char32_t c);
bool IsUpper(char32_t c);
bool IsLower(char32_t c);
bool IsTitle(char32_t c);
bool IsCased(char32_t c);
bool IsIdentifierStart(char32_t c);
bool IsIdentifierPart(char32_t c);

Text Upper(TextView text);
Text Lower(TextView text);
Text LowerAt(TextView text, size_t i);  // of one character, which may depend on those around it
Text TitleCase(char32_t c);             // as a word's first character
Text Capitalize(TextView text);         // the first upper, the others lower

TextView Strip(TextView text, bool left = true, bool right = true);
// The same of the characters of `chars`.
TextView StripAny(TextView text, TextView chars, bool left = true, bool right = true);

}  // namespace fptq::jinja
