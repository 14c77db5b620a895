#include "text/jinja/numbers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string>

#include "text/jinja/characters.h"

namespace fptq::jinja {
namespace {

// Of a number without white space around it and underscores between its digits; none if those
// stand in other places.
std::optional<std::string> Plain(TextView text) {
  const std::string utf8 = ToUtf8(Strip(text));
  const auto is_digit = [&](size_t i) {
    return i < utf8.size() && std::isalnum(static_cast<unsigned char>(utf8[i])) != 0;
  };
  std::string plain;
  for (size_t i = 0; i < utf8.size(); ++i) {
    if (utf8[i] != '_') {
      plain += utf8[i];
    } else if (i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) {
      return std::nullopt;
    }
  }
  return plain;
}

}  // namespace

std::optional<int64_t> ParseInt(TextView text, int64_t base) {
  std::optional<std::string> plain = Plain(text);
  if (!plain) return std::nullopt;
  std::string_view digits = *plain;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  const auto prefixed = [&](int64_t of_base, char letter) {
    const bool is = digits.size() > 2 && digits[0] == '0' && (digits[1] | 0x20) == letter;
    if (!is || (base != of_base && base != 0)) return;
    base = of_base;
    digits.remove_prefix(2);
  };
  prefixed(16, 'x');
  prefixed(8, 'o');
  prefixed(2, 'b');
  if (base == 0) base = 10;
  if (base < 2 || base > 36 || digits.empty() || digits[0] == '-') return std::nullopt;
  uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, static_cast<int>(base));
  if (error == std::errc::invalid_argument || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  const uint64_t limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) + negative;
  if (error != std::errc() || value > limit) throw Failure("an integer is beyond 64 bits");
  return static_cast<int64_t>(negative ? 0 - value : value);
}

std::optional<double> ParseFloat(TextView text) {
  const std::optional<std::string> plain = Plain(text);
  if (!plain) return std::nullopt;
  std::string_view digits = *plain;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.empty() || digits[0] == '-' || digits[0] == '+') return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (end != digits.data() + digits.size() || error == std::errc::invalid_argument ||
      digits.back() == ')') {
    return std::nullopt;
  }
  if (error == std::errc::result_out_of_range) {
    // Too large, or too small to be told from 0.
    const bool large =
        std::strtod(plain->c_str(), nullptr) > 1 || std::strtod(plain->c_str(), nullptr) < -1;
    value = large ? std::numeric_limits<double>::infinity() : 0;
  }
  return negative ? -value : value;
}

std::optional<int64_t> Truncate(double value) {
  const double whole = std::trunc(value);
  if (!(whole >= -0x1p63 && whole < 0x1p63)) return std::nullopt;
  return static_cast<int64_t>(whole);
}

double Round(double value, int64_t places) {
  constexpr int64_t kMostPlaces = 330;  // more change no double
  if (!std::isfinite(value) || places > kMostPlaces) return value;
  if (places < -kMostPlaces) return std::copysign(0.0, value);
  if (places >= 0) {
    const std::string text = fmt::format("{:.{}f}", value, static_cast<int>(places));
    double rounded = 0;
    std::from_chars(text.data(), text.data() + text.size(), rounded);
    return rounded;
  }
  const double unit = std::pow(10.0, static_cast<double>(-places));
  return std::nearbyint(value / unit) * unit;
}

}  // namespace fptq::jinja
