#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/jinja/characters.h"

namespace fptq::jinja {
namespace {

using Kind = Token::Kind;

// "\r\n" and "\r" become "\n", and one at the end is dropped.
Text NormalizeNewlines(std::string_view source) {
  std::string text;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text += source[i];
    } else if (i + 1 == source.size() || source[i + 1] != '\n') {
      text += '\n';
    }
  }
  if (text.ends_with('\n')) text.pop_back();
  return FromUtf8(text);
}

bool IsAsciiDigit(char32_t c) { return c >= U'0' && c <= U'9'; }

int DigitValue(char32_t c) {
  if (IsAsciiDigit(c)) return static_cast<int>(c - U'0');
  if (c >= U'a' && c <= U'f') return static_cast<int>(c - U'a') + 10;
  if (c >= U'A' && c <= U'F') return static_cast<int>(c - U'A') + 10;
  return 99;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& where)
      : source_(NormalizeNewlines(source)), where_(where) {}

  std::vector<Token> Run() {
    while (at_ < source_.size()) LexData();
    Add(Kind::kEnd);
    return std::move(tokens_);
  }

 private:
  template <typename... Args>
  [[noreturn]] void Fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw Error("{}: line {}: {}", where_, line_, fmt::format(format, std::forward<Args>(args)...));
  }

  TextView Rest() const { return TextView(source_).substr(at_); }
  char32_t At(size_t i) const { return i < source_.size() ? source_[i] : U'\0'; }
  bool StartsWith(const char32_t* text) const { return Rest().starts_with(text); }

  void Add(Kind kind, std::string name = {}, Text text = {}) {
    tokens_.push_back({kind, line_, std::move(name), std::move(text)});
  }
  // Goes on by `count` characters.
  void Take(size_t count) {
    line_ +=
        static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                    source_.begin() + static_cast<ptrdiff_t>(at_ + count), U'\n'));
    at_ += count;
    at_line_start_ = count > 0 ? source_[at_ - 1] == U'\n' : at_line_start_;
  }
  void TakeSpace() {
    size_t count = 0;
    while (at_ + count < source_.size() && IsSpace(source_[at_ + count])) ++count;
    Take(count);
  }

  // The text up to the next tag, and the tag.
  void LexData() {
    size_t tag = at_;
    while (tag < source_.size() && !IsTagBegin(tag)) ++tag;
    const TextView data = Rest().substr(0, tag - at_);
    if (tag == source_.size()) {
      AddData(data);
      Take(data.size());
      return;
    }
    const char32_t type = source_[tag + 1];
    const char32_t sign = At(tag + 2);
    AddData(StripBeforeTag(data, sign, /*is_variable=*/type == U'{'));
    Take(data.size());
    if (type == U'%' && LexRawBegin()) return LexRaw();
    Take(sign == U'-' || sign == U'+' ? 3 : 2);
    if (type == U'#') return SkipComment();
    Add(type == U'%' ? Kind::kBlockBegin : Kind::kVariableBegin);
    LexTag(/*is_block=*/type == U'%');
  }

  bool IsTagBegin(size_t i) const {
    const char32_t next = At(i + 1);
    return source_[i] == U'{' && (next == U'%' || next == U'{' || next == U'#');
  }

  TextView StripBeforeTag(TextView data, char32_t sign, bool is_variable) const {
    if (sign == U'-') return Strip(data, /*left=*/false);
    if (sign == U'+' || is_variable) return data;
    const size_t newline = data.rfind(U'\n');
    const size_t line = newline == data.npos ? 0 : newline + 1;
    if (line == 0 && !at_line_start_) return data;
    return Strip(data.substr(line)).empty() ? data.substr(0, line) : data;
  }

  void AddData(TextView data) {
    if (!data.empty()) Add(Kind::kData, {}, Text(data));
  }

  // At "{% raw %}": takes it.
  bool LexRawBegin() {
    size_t i = at_ + 2;
    if (At(i) == U'-' || At(i) == U'+') ++i;
    const size_t end = MatchWordTag(i, U"raw");
    if (end == 0) return false;
    const bool strip = source_[end - 3] == U'-';
    if (source_[end - 3] == U'+') return false;
    Take(end - at_);
    if (strip) TakeSpace();
    return true;
  }

  // The end of " WORD %}" that begins at `i`; 0 if there is none.
  size_t MatchWordTag(size_t i, TextView word) const {
    while (i < source_.size() && IsSpace(source_[i])) ++i;
    if (!TextView(source_).substr(i).starts_with(word)) return 0;
    i += word.size();
    while (i < source_.size() && IsSpace(source_[i])) ++i;
    if (At(i) == U'-' || At(i) == U'+') ++i;
    return At(i) == U'%' && At(i + 1) == U'}' ? i + 2 : 0;
  }

  void LexRaw() {
    for (size_t i = at_; i + 1 < source_.size(); ++i) {
      if (source_[i] != U'{' || source_[i + 1] != U'%') continue;
      const char32_t sign = At(i + 2);
      const size_t end = MatchWordTag(i + (sign == U'-' || sign == U'+' ? 3 : 2), U"endraw");
      if (end == 0) continue;
      const TextView data = Rest().substr(0, i - at_);
      AddData(StripBeforeTag(data, sign, /*is_variable=*/false));
      Take(end - at_);
      TakeAfterBlock(source_[end - 3]);
      return;
    }
    Fail("the raw block has no end");
  }

  // What the end of a block or comment, with a sign before it, takes of the text behind it.
  void TakeAfterBlock(char32_t sign) {
    if (sign == U'-') {
      TakeSpace();
    } else if (sign != U'+' && At(at_) == U'\n') {
      Take(1);
    }
  }

  void SkipComment() {
    const size_t end = source_.find(U"#}", at_);
    if (end == source_.npos) Fail("the comment has no end");
    const char32_t sign = end > at_ ? source_[end - 1] : U' ';
    Take(end + 2 - at_);
    TakeAfterBlock(sign);
  }

  void LexTag(bool is_block) {
    open_.clear();
    while (true) {
      if (open_.empty() && TakeTagEnd(is_block)) return;
      if (at_ == source_.size()) return;  // the parser says what is missing
      LexToken();
    }
  }

  bool TakeTagEnd(bool is_block) {
    const TextView end = is_block ? U"%}" : U"}}";
    char32_t sign = At(at_);
    if (sign != U'-' && !(sign == U'+' && is_block)) sign = U' ';
    const size_t begin = at_ + (sign == U' ' ? 0 : 1);
    if (!TextView(source_).substr(std::min(begin, source_.size())).starts_with(end)) return false;
    Take(begin + 2 - at_);
    Add(is_block ? Kind::kBlockEnd : Kind::kVariableEnd);
    if (is_block) {
      TakeAfterBlock(sign);
    } else if (sign == U'-') {
      TakeSpace();
    }
    return true;
  }

  void LexToken() {
    const char32_t c = source_[at_];
    if (IsSpace(c)) return TakeSpace();
    if (IsAsciiDigit(c)) return LexNumber();
    if (IsIdentifierStart(c)) return LexName();
    if (c == U'\'' || c == U'"') return LexString(c);
    LexOperator();
  }

  void LexName() {
    size_t end = at_;
    while (end < source_.size() && IsIdentifierPart(source_[end])) ++end;
    Add(Kind::kName, ToUtf8(Rest().substr(0, end - at_)));
    Take(end - at_);
  }

  // Digits with single underscores between them; `end` behind them, or `begin` if there are none.
  size_t Digits(size_t begin, int base) const {
    size_t i = begin;
    while (DigitValue(At(i)) < base ||
           (i > begin && At(i) == U'_' && DigitValue(At(i + 1)) < base)) {
      ++i;
    }
    return i;
  }

  void LexNumber() {
    const char32_t prefix = At(at_ + 1) | 0x20;  // in lower case
    const int base = At(at_) != U'0'  ? 10
                     : prefix == U'x' ? 16
                     : prefix == U'o' ? 8
                     : prefix == U'b' ? 2
                                      : 10;
    if (base != 10 && Digits(at_ + 2, base) > at_ + 2) {
      return AddNumber(Kind::kInteger, Digits(at_ + 2, base));
    }
    const size_t integer = Digits(at_, 10);
    size_t end = integer;
    if (At(end) == U'.' && Digits(end + 1, 10) > end + 1) end = Digits(end + 1, 10);
    if ((At(end) | 0x20) == U'e') {
      const size_t sign = At(end + 1) == U'+' || At(end + 1) == U'-' ? 1 : 0;
      const size_t digits = Digits(end + 1 + sign, 10);
      if (digits > end + 1 + sign) end = digits;
    }
    if (end > integer && (at_ == 0 || source_[at_ - 1] != U'.')) {
      return AddNumber(Kind::kFloat, end);
    }
    size_t zeros = at_;  // "012" is no number, but "0" and "12"
    while (At(zeros) == U'0') ++zeros;
    AddNumber(Kind::kInteger, zeros > at_ ? zeros : integer);
  }

  void AddNumber(Kind kind, size_t end) {
    std::string digits = ToUtf8(Rest().substr(0, end - at_));
    std::erase(digits, '_');
    Add(kind, std::move(digits));
    Take(end - at_);
  }

  void LexString(char32_t quote) {
    size_t end = at_ + 1;
    while (At(end) != quote) {
      end += source_[std::min(end, source_.size() - 1)] == U'\\' ? 2 : 1;
      if (end >= source_.size()) Fail("the string has no end");
    }
    Add(Kind::kString, {}, Unescape(Rest().substr(1, end - at_ - 1)));
    Take(end + 1 - at_);
  }

  // Python's escape sequences.
  Text Unescape(TextView text) const {
    constexpr std::string_view kPlain = "\\'\"abfnrtv";
    constexpr std::string_view kMeaning = "\\'\"\a\b\f\n\r\t\v";
    Text out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != U'\\') {
        out += text[i];
        continue;
      }
      const char32_t c = text[++i];
      const size_t plain = c < 0x80 ? kPlain.find(static_cast<char>(c)) : kPlain.npos;
      if (plain != kPlain.npos) {
        out += static_cast<char32_t>(kMeaning[plain]);
      } else if (c == U'x' || c == U'u' || c == U'U') {
        out += HexEscape(text, c == U'x' ? 2 : c == U'u' ? 4 : 8, i);
      } else if (DigitValue(c) < 8) {
        char32_t value = 0;
        const size_t end = std::min(i + 3, text.size());
        for (; i < end && DigitValue(text[i]) < 8; ++i) {
          value = value * 8 + static_cast<char32_t>(DigitValue(text[i]));
        }
        --i;
        out += value;
      } else if (c == U'N') {
        Fail("\\N{{...}} in a string is not supported");
      } else if (c != U'\n') {
        out += U'\\';
        out += c;
      }
    }
    return out;
  }

  // `i` is at the letter, and then at the last digit.
  char32_t HexEscape(TextView text, size_t digits, size_t& i) const {
    char32_t value = 0;
    for (size_t k = 0; k < digits; ++k) {
      ++i;
      const int digit = i < text.size() ? DigitValue(text[i]) : 99;
      if (digit > 15) Fail("a \\x, \\u or \\U in a string is followed by too few digits");
      value = value << 4 | static_cast<char32_t>(digit);
    }
    if (value > 0x10ffff) Fail("a \\U in a string is beyond U+10FFFF");
    return value;
  }

  void LexOperator() {
    constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    const auto matches = [&](std::string_view name) {
      return std::ranges::equal(name, Rest().substr(0, name.size()), {},
                                [](char c) { return static_cast<char32_t>(c); });
    };
    const auto* it = std::ranges::find_if(kOperators, matches);
    if (it == kOperators.end()) {
      std::string character;
      AppendUtf8(source_[at_], character);
      Fail("unexpected character '{}'", Excerpt(character));
    }
    Balance((*it)[0]);
    Add(Kind::kOperator, std::string(*it));
    Take(it->size());
  }

  void Balance(char c) {
    constexpr std::string_view kOpening = "([{";
    constexpr std::string_view kClosing = ")]}";
    if (const size_t i = kOpening.find(c); i != kOpening.npos) open_ += kClosing[i];
    if (kClosing.find(c) == kClosing.npos) return;
    if (open_.empty()) Fail("unexpected '{}'", c);
    if (open_.back() != c) Fail("unexpected '{}', expected '{}'", c, open_.back());
    open_.pop_back();
  }

  const Text source_;
  const std::string& where_;
  size_t at_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;
  std::string open_;  // the brackets that are to be closed
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view source, const std::string& where) {
  return Lexer(source, where).Run();
}

std::string Excerpt(std::string_view text) {
  constexpr size_t kMaxLength = 400;
  std::string out;
  for (const char32_t c : FromUtf8(text)) {
    if (out.size() > kMaxLength) return out + "...";
    AppendUtf8(IsPrintable(c) ? c : U' ', out);
  }
  return out;
}

}  // namespace fptq::jinja
