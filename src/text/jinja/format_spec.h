// Python's format specifications: "*^10.3f".
#pragma once

#include <limits>
#include <string_view>

#include "text/jinja/heap.h"

namespace fptq::jinja {

// How a value is to be written: Python's format specification.
struct Spec {
  char32_t fill = U' ';
  char align = 0;  // '<', '>', '^', '='; 0: by the type
  char sign = '-';
  bool alternate = false;
  int64_t width = 0;
  char grouping = 0;  // ',' or '_'
  int64_t precision = -1;
  char type = 0;
};

// format(value, spec)
Text FormatValue(Heap& heap, const Value& value, TextView spec);
// The same of a bool, int or float.
Text FormatNumber(Heap& heap, const Value& value, Spec spec);
// `sign` and `body` in the width of `spec`; `align` is for a spec that has none.
Text Align(Heap& heap, std::string_view sign, TextView body, const Spec& spec, char align);

// The character if it is in ASCII, else 0x7f.
inline char Ascii(char32_t c) {
  return CodePoint(c) < 0x80 ? static_cast<char>(CodePoint(c)) : '\x7f';
}

// Reads through a format.
class Reader {
 public:
  explicit Reader(TextView text) : text_(text) {}
  bool done() const { return at_ == text_.size(); }
  char32_t Peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : U'\0';
  }
  bool Is(char c, size_t ahead = 0) const {
    return at_ + ahead < text_.size() && Ascii(Peek(ahead)) == c;
  }
  bool IsOneOf(std::string_view set, size_t ahead = 0) const {
    return at_ + ahead < text_.size() && set.find(Ascii(Peek(ahead))) != set.npos;
  }
  char32_t Take() {
    if (done()) throw Failure("the format ends too early");
    return text_[at_++];
  }
  bool TakeIf(char c) {
    const bool found = Is(c);
    if (found) ++at_;
    return found;
  }
  bool IsDigit() const { return IsOneOf("0123456789"); }
  int64_t TakeNumber() {
    int64_t number = 0;
    while (IsDigit()) {
      number = number * 10 + (Ascii(Take()) - '0');
      if (number > std::numeric_limits<int32_t>::max()) throw Failure("a number is too large");
    }
    return number;
  }
  TextView TakeUntil(std::string_view ends) {
    const size_t begin = at_;
    while (!done() && !IsOneOf(ends)) ++at_;
    return text_.substr(begin, at_ - begin);
  }

 private:
  TextView text_;
  size_t at_ = 0;
};

}  // namespace fptq::jinja
