// Python's int(), float() and round().
#pragma once

#include <optional>

#include "text/jinja/heap.h"

namespace fptq::jinja {

// int(text, base) and float(text); none if the text is no number.
std::optional<int64_t> ParseInt(TextView text, int64_t base);
std::optional<double> ParseFloat(TextView text);

// `value` towards zero; none if it is no number or beyond 64 bits.
std::optional<int64_t> Truncate(double value);
// To so many decimal places, half to even.
double Round(double value, int64_t places);

}  // namespace fptq::jinja
