// Functions that the C library has too, but whose last bit depends there on its version and on the
// processor. Here equal arguments give equal bits everywhere: only operations that IEEE 754 defines
// exactly are used, which leaves std::sqrt, std::floor and their like to the library. What is
// returned lies less than one unit in the last place from the exact value.
#pragma once

#include <span>

namespace fptq {

double Exp(double x);
double Exp2(double x);
// Exp of each number, in its place; faster than one by one.
void ExpEach(std::span<double> x);

// NaN of a negative number, -infinity of 0.
double Log(double x);
double Log2(double x);
double Log10(double x);

// x^y; NaN of a negative x.
double Pow(double x, double y);

inline constexpr double kMaxAngle = 0x1p32;
struct SinCos {
  double sin;
  double cos;
};
// NaN of an infinity and of NaN; other angles must lie within +-kMaxAngle.
SinCos SinCosOf(double angle);

}  // namespace fptq
