#include "text/jinja/characters.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

namespace fptq::jinja {
namespace {

utf8proc_category_t Category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(CodePoint(c)));
}

bool In(char32_t c, char32_t first, char32_t last) {
  return CodePoint(c) >= first && CodePoint(c) <= last;
}

// Upper case of one character in several (SpecialCasing.txt, the unconditional rows in use).
struct LongUpper {
  char32_t c;
  const char32_t* upper;
  const char32_t* title;
};
constexpr LongUpper kLongUpper[] = {
    {0xdf, U"SS", U"Ss"},
    {0x149, U"\u02bcN", U"\u02bcN"},
    {0x1f0, U"J\u030c", U"J\u030c"},
    {0x390, U"\u0399\u0308\u0301", U"\u0399\u0308\u0301"},
    {0x3b0, U"\u03a5\u0308\u0301", U"\u03a5\u0308\u0301"},
    {0x587, U"\u0535\u0552", U"\u0535\u0582"},
    {0x1e96, U"H\u0331", U"H\u0331"},
    {0x1e97, U"T\u0308", U"T\u0308"},
    {0x1e98, U"W\u030a", U"W\u030a"},
    {0x1e99, U"Y\u030a", U"Y\u030a"},
    {0x1e9a, U"A\u02be", U"A\u02be"},
    {0xfb00, U"FF", U"Ff"},
    {0xfb01, U"FI", U"Fi"},
    {0xfb02, U"FL", U"Fl"},
    {0xfb03, U"FFI", U"Ffi"},
    {0xfb04, U"FFL", U"Ffl"},
    {0xfb05, U"ST", U"St"},
    {0xfb06, U"ST", U"St"},
};

const LongUpper* FindLongUpper(char32_t c) {
  const auto* row = std::find_if(std::begin(kLongUpper), std::end(kLongUpper),
                                 [&](const LongUpper& r) { return r.c == CodePoint(c); });
  return row == std::end(kLongUpper) ? nullptr : row;
}

void Append(const char32_t* text, char32_t like, Text& out) {
  for (; *text != 0; ++text) out += SameOrigin(*text, like);
}

char32_t Map(utf8proc_int32_t (*map)(utf8proc_int32_t), char32_t c) {
  return SameOrigin(static_cast<char32_t>(map(static_cast<utf8proc_int32_t>(CodePoint(c)))), c);
}

// Whether a capital sigma at `i` ends a word: a cased letter before it, none after.
bool IsFinalSigma(TextView text, size_t i) {
  const auto ignorable = [&](size_t k) {
    const utf8proc_category_t category = Category(text[k]);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
           category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_LM ||
           CodePoint(text[k]) == U'\'' || CodePoint(text[k]) == 0x2019 ||
           CodePoint(text[k]) == 0xb7;
  };
  size_t before = i;
  while (before > 0 && ignorable(before - 1)) --before;
  size_t after = i + 1;
  while (after < text.size() && ignorable(after)) ++after;
  return before > 0 && IsCased(text[before - 1]) && (after == text.size() || !IsCased(text[after]));
}

}  // namespace

bool IsSpace(char32_t c) {
  return In(c, 0x09, 0x0d) || In(c, 0x1c, 0x20) || In(c, 0x85, 0x85) || In(c, 0xa0, 0xa0) ||
         In(c, 0x1680, 0x1680) || In(c, 0x2000, 0x200a) || In(c, 0x2028, 0x2029) ||
         In(c, 0x202f, 0x202f) || In(c, 0x205f, 0x205f) || In(c, 0x3000, 0x3000);
}

bool IsLineBreak(char32_t c) {
  return In(c, 0x0a, 0x0d) || In(c, 0x1c, 0x1e) || In(c, 0x85, 0x85) || In(c, 0x2028, 0x2029);
}

bool IsPrintable(char32_t c) {
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return CodePoint(c) == U' ';
    default:
      return true;
  }
}

bool IsAlphabetic(char32_t c) {
  const utf8proc_category_t category = Category(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}
bool IsDecimal(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_ND; }
bool IsDigit(char32_t c) {
  return IsDecimal(c) || In(c, 0xb2, 0xb3) || In(c, 0xb9, 0xb9) || In(c, 0x2070, 0x2070) ||
         In(c, 0x2074, 0x2079) || In(c, 0x2080, 0x2089) || In(c, 0x2460, 0x2468) ||
         In(c, 0x2474, 0x247c) || In(c, 0x2488, 0x2490) || In(c, 0x24ea, 0x24ea) ||
         In(c, 0x24f5, 0x24fd) || In(c, 0x24ff, 0x24ff) || In(c, 0x2776, 0x277e) ||
         In(c, 0x2780, 0x2788) || In(c, 0x278a, 0x2792);
}
bool IsNumeric(char32_t c) {
  const utf8proc_category_t category = Category(c);
  return IsDigit(c) || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO ||
         In(c, 0x4e00, 0x4e00) || In(c, 0x4e8c, 0x4e8c) || In(c, 0x4e09, 0x4e09);
}
bool IsUpper(char32_t c) {
  return utf8proc_isupper(static_cast<utf8proc_int32_t>(CodePoint(c))) != 0;
}
bool IsLower(char32_t c) {
  return utf8proc_islower(static_cast<utf8proc_int32_t>(CodePoint(c))) != 0;
}
bool IsTitle(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LT; }
bool IsCased(char32_t c) { return IsUpper(c) || IsLower(c) || IsTitle(c); }

bool IsIdentifierStart(char32_t c) {
  return IsAlphabetic(c) || CodePoint(c) == U'_' || Category(c) == UTF8PROC_CATEGORY_NL;
}
bool IsIdentifierPart(char32_t c) {
  const utf8proc_category_t category = Category(c);
  return IsIdentifierStart(c) || IsDecimal(c) || category == UTF8PROC_CATEGORY_MN ||
         category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_PC;
}

Text Upper(TextView text) {
  Text out;
  out.reserve(text.size());
  for (const char32_t c : text) {
    if (const LongUpper* row = CodePoint(c) < 0x80 ? nullptr : FindLongUpper(c)) {
      Append(row->upper, c, out);
    } else {
      out += Map(utf8proc_toupper, c);
    }
  }
  return out;
}

Text LowerAt(TextView text, size_t i) {
  Text out;
  if (CodePoint(text[i]) == 0x130) {
    Append(U"i\u0307", text[i], out);
  } else if (CodePoint(text[i]) == 0x3a3 && IsFinalSigma(text, i)) {
    out += SameOrigin(0x3c2, text[i]);
  } else {
    out += Map(utf8proc_tolower, text[i]);
  }
  return out;
}

Text Lower(TextView text) {
  Text out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (CodePoint(text[i]) < 0x80) {
      const bool upper = CodePoint(text[i]) >= U'A' && CodePoint(text[i]) <= U'Z';
      out += upper ? text[i] + (U'a' - U'A') : text[i];
    } else {
      out += LowerAt(text, i);
    }
  }
  return out;
}

Text TitleCase(char32_t c) {
  Text out;
  if (const LongUpper* row = FindLongUpper(c)) {
    Append(row->title, c, out);
  } else {
    out += Map(utf8proc_totitle, c);
  }
  return out;
}

Text Capitalize(TextView text) {
  Text out;
  for (size_t i = 0; i < text.size(); ++i) out += i == 0 ? TitleCase(text[0]) : LowerAt(text, i);
  return out;
}

namespace {

template <typename Drop>
TextView StripIf(TextView text, bool left, bool right, Drop drop) {
  while (left && !text.empty() && drop(text.front())) text.remove_prefix(1);
  while (right && !text.empty() && drop(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

TextView Strip(TextView text, bool left, bool right) { return StripIf(text, left, right, IsSpace); }

TextView StripAny(TextView text, TextView chars, bool left, bool right) {
  std::vector<char32_t> sorted;
  for (const char32_t c : chars) sorted.push_back(CodePoint(c));
  std::ranges::sort(sorted);
  return StripIf(text, left, right,
                 [&](char32_t c) { return std::ranges::binary_search(sorted, CodePoint(c)); });
}

}  // namespace fptq::jinja
