#include "base/math.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include "base/error.h"

namespace fptq {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// --- A number as the unevaluated sum of two doubles, of some 106 bits ---

struct Double2 {
  double high;
  double low = 0;  // at most half a unit in the last place of `high`
};

// The sum of two numbers, |a| >= |b| or a == 0; exact.
constexpr Double2 FastSum(double a, double b) {
  const double sum = a + b;
  return {sum, b - (sum - a)};
}

// The sum of any two; exact.
constexpr Double2 Sum(double a, double b) {
  const double sum = a + b, part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

// The product of two numbers below 2^990, by halves of 26 bits (Dekker); exact unless it
// underflows.
constexpr Double2 Product(double a, double b) {
  const auto split = [](double x) {
    const double scaled = x * 0x1.0000002p+27, high = scaled - (scaled - x);
    return Double2{high, x - high};
  };
  const double product = a * b;
  const Double2 x = split(a), y = split(b);
  return {product, ((x.high * y.high - product) + x.high * y.low + x.low * y.high) + x.low * y.low};
}

constexpr Double2 operator+(Double2 a, Double2 b) {
  const Double2 high = Sum(a.high, b.high), low = Sum(a.low, b.low);
  const Double2 sum = FastSum(high.high, high.low + low.high);
  return FastSum(sum.high, sum.low + low.low);
}
constexpr Double2 operator-(Double2 a) { return {-a.high, -a.low}; }
constexpr Double2 operator*(Double2 a, Double2 b) {
  const Double2 product = Product(a.high, b.high);
  return FastSum(product.high, product.low + (a.high * b.low + a.low * b.high));
}
constexpr Double2 operator/(Double2 a, Double2 b) {
  const double first = a.high / b.high;
  const Double2 rest = a + -(b * Double2{first});
  const double second = rest.high / b.high;
  const Double2 last = rest + -(b * Double2{second});
  return FastSum(first, second) + Double2{last.high / b.high};
}

constexpr Double2 kLn2 = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
constexpr Double2 kInverseLn2 = {0x1.71547652b82fep+0, 0x1.777d0ffda0d24p-56};
constexpr Double2 kInverseLn10 = {0x1.bcb7b1526e50ep-2, 0x1.95355baaafad3p-57};
constexpr Double2 kLog10Of2 = {0x1.34413509f79ffp-2, -0x1.9dc1da994fd21p-59};

// --- Exponentials ---

constexpr int kSteps = 128;  // of 2^x between two integers

// 2^(i / kSteps)
constexpr std::array<Double2, kSteps> kPowersOf2 = [] {
  const Double2 x = kLn2 * Double2{1.0 / kSteps};
  Double2 root = {1};  // exp(x) by Horner's rule; x^15 / 15! is below 2^-150
  for (int i = 15; i > 0; --i) root = Double2{1} + x * root / Double2{static_cast<double>(i)};
  std::array<Double2, kSteps> powers = {};
  powers[0] = {1};
  for (size_t i = 1; i < kSteps; ++i) powers[i] = powers[i - 1] * root;
  return powers;
}();

// Of |x| < 2^51, halves to even.
double Rounded(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

double PowerOf2(int64_t exponent) {  // from -1022 to 1023
  return std::bit_cast<double>(static_cast<uint64_t>(exponent + 1023) << 52);
}

// x 2^exponent, rounded once, of an x near 1 and an exponent within +-1100.
double Scaled(double x, int64_t exponent) {
  const int64_t first = exponent / 2;
  return x * PowerOf2(first) * PowerOf2(exponent - first);
}

// exp(r) - 1 for |r| < 0.003.
inline double ExpMinus1(double r) {
  return r + r * r * (0.5 + r * (1.0 / 6 + r * (1.0 / 24 + r * (1.0 / 120))));
}

// 2^(k / kSteps) exp(r) for |r| < 0.003. The last rounding is of a number that is exact to 2^-60.
double ExpOfParts(int64_t k, double r) {
  const auto index = static_cast<uint64_t>(k) % kSteps;
  const Double2 power = kPowersOf2[index];
  const double value = power.high + (power.low + power.high * ExpMinus1(r));
  return Scaled(value, (k - static_cast<int64_t>(index)) / kSteps);
}

// x = k ln 2 / kSteps + r
struct ExpParts {
  double k, r;
};
inline ExpParts PartsOf(double x) {
  // ln 2 / kSteps in two parts; the first has so few bits that its product with k is exact.
  constexpr double kStep = 0x1.62e42fef8p-8, kStepLow = 0x1.1cf79abc9e3b4p-43;
  const double k = Rounded(x * (kSteps * kInverseLn2.high));
  return {k, (x - k * kStep) - k * kStepLow};
}

// exp(x + low); `low` is small beside x.
double ExpOfSum(double x, double low) {
  if (!(x > -760)) return x < 0 ? 0 : kNan;  // exp(-745.2) is below half of the least denormal
  if (x > 710) return kInfinity;
  const ExpParts parts = PartsOf(x);
  return ExpOfParts(static_cast<int64_t>(parts.k), parts.r + low);
}

// --- Logarithms ---

// x = 2^exponent m, with m from 1 / sqrt(2) to sqrt(2): the exponent and ln(m) to 2^-68 of it. Of a
// finite x > 0.
std::pair<int64_t, Double2> LogOfParts(double x) {
  int64_t exponent = 0;
  if (x < std::numeric_limits<double>::min()) {
    x *= 0x1p54;
    exponent = -54;
  }
  constexpr uint64_t kMantissa = (uint64_t{1} << 52) - 1;
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  exponent += static_cast<int64_t>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & kMantissa) | (uint64_t{1023} << 52));
  if (m > 0x1.6a09e667f3bcdp+0) {
    m /= 2;
    ++exponent;
  }
  // ln(m) = 2 (s + s^3 / 3 + s^5 / 5 + ...), s = (m - 1) / (m + 1), |s| < 0.172
  const Double2 s = Double2{m - 1} / Sum(m, 1);
  const Double2 square = s * s;
  const double z = square.high;
  static constexpr Double2 kFirst[] = {
      {1}, Double2{1} / Double2{3}, Double2{1} / Double2{5}, Double2{1} / Double2{7}};
  double rest = 0;  // from s^9 on, where a double is exact enough
  for (int i = 31; i >= 9; i -= 2) rest = 1.0 / i + z * rest;
  Double2 sum = {rest};
  for (int i = 3; i >= 0; --i) sum = kFirst[i] + square * sum;
  const Double2 half = s * sum;
  return {exponent, {2 * half.high, 2 * half.low}};
}

// What a logarithm of x is where it needs no computing: of 0, a negative number, infinity or NaN.
bool IsPlain(double x) { return x > 0 && x < kInfinity; }
double LogOfOthers(double x) { return x == 0 ? -kInfinity : x > 0 ? kInfinity : kNan; }

// The logarithm to the base whose ln has the inverse `inverse`, in which 2 has the logarithm `two`.
double LogToBase(double x, Double2 inverse, Double2 two) {
  if (!IsPlain(x)) return LogOfOthers(x);
  const auto [exponent, log] = LogOfParts(x);
  return (two * Double2{static_cast<double>(exponent)} + log * inverse).high;
}

// --- Sine and cosine, by their power series ---

// c[0] + c[1] z + c[2] z^2 + ...
template <size_t n>
double Polynomial(const std::array<double, n>& c, double z) {
  double sum = c[n - 1];
  for (size_t i = n - 1; i > 0; --i) sum = c[i - 1] + z * sum;
  return sum;
}

// (-1)^i / (2 i + first)!
template <size_t n>
constexpr std::array<double, n> AlternatingInverseFactorials(int first) {
  std::array<double, n> c = {};
  double factorial = 1;  // exact up to 18!
  for (int i = 1; i <= first; ++i) factorial *= i;
  for (size_t i = 0; i < n; ++i) {
    c[i] = (i % 2 == 0 ? 1 : -1) / factorial;
    const double next = first + 2 * static_cast<double>(i);
    factorial *= (next + 1) * (next + 2);
  }
  return c;
}

// Both for |r| < 0.786.
double SinOfRest(Double2 r) {  // r - r^3 / 3! + ...
  static constexpr auto kCoefficients = AlternatingInverseFactorials<8>(3);
  const double z = r.high * r.high;
  const double cubic = -r.high * z * Polynomial(kCoefficients, z);
  return r.high + (cubic + r.low * (1 - 0.5 * z));
}
double CosOfRest(Double2 r) {  // 1 - r^2 / 2 + r^4 / 4! - ...
  static constexpr auto kCoefficients = AlternatingInverseFactorials<8>(4);
  const Double2 square = Product(r.high, r.high);
  const double z = square.high;
  const Double2 sum = FastSum(1, -0.5 * z);
  return sum.high +
         (sum.low - 0.5 * square.low - r.high * r.low + z * z * Polynomial(kCoefficients, z));
}

}  // namespace

double Exp(double x) { return ExpOfSum(x, 0); }

void ExpEach(std::span<double> x) {
  constexpr size_t kBlock = 64;
  constexpr double kNormal = 700;  // up to there one multiplication scales, and rounds nothing
  for (; x.size() >= kBlock; x = x.subspan(kBlock)) {
    const auto block = x.first(kBlock);
    int normal = 1;
    for (const double number : block) normal &= number > -kNormal && number < kNormal ? 1 : 0;
    if (normal == 0) {
      for (double& number : block) number = Exp(number);
      continue;
    }
    double p[kBlock];
    int32_t steps[kBlock];
    for (size_t i = 0; i < kBlock; ++i) {
      const ExpParts parts = PartsOf(block[i]);
      steps[i] = static_cast<int32_t>(parts.k);
      p[i] = ExpMinus1(parts.r);
    }
    for (size_t i = 0; i < kBlock; ++i) {
      const Double2 power = kPowersOf2[static_cast<uint32_t>(steps[i]) % kSteps];
      block[i] = (power.high + (power.low + power.high * p[i])) *
                 PowerOf2(steps[i] / kSteps - (steps[i] % kSteps < 0 ? 1 : 0));
    }
  }
  for (double& number : x) number = Exp(number);
}

double Exp2(double x) {
  if (!(x > -1100)) return x < 0 ? 0 : kNan;
  if (x > 1025) return kInfinity;
  const double k = Rounded(x * kSteps);
  return ExpOfParts(static_cast<int64_t>(k), (x - k / kSteps) * kLn2.high);
}

double Log(double x) {
  if (!IsPlain(x)) return LogOfOthers(x);
  const auto [exponent, log] = LogOfParts(x);
  return (kLn2 * Double2{static_cast<double>(exponent)} + log).high;
}

double Log2(double x) { return LogToBase(x, kInverseLn2, {1}); }

double Log10(double x) { return LogToBase(x, kInverseLn10, kLog10Of2); }

double Pow(double x, double y) {
  if (y == 0 || x == 1) return 1;
  if (!IsPlain(x) || !std::isfinite(y)) return Exp(y * Log(x));
  const auto [exponent, log] = LogOfParts(x);
  const Double2 ln = kLn2 * Double2{static_cast<double>(exponent)} + log;
  if (std::abs(y * ln.high) > 1000) return Exp(y * ln.high);  // 0 or infinity; or y * ln overflows
  const Double2 product = ln * Double2{y};
  return ExpOfSum(product.high, product.low);
}

SinCos SinCosOf(double angle) {
  if (!std::isfinite(angle)) return {kNan, kNan};
  FPTQ_CHECK(std::abs(angle) <= kMaxAngle);
  // pi / 2 to 2^-164 of it: no double of this size is so near a multiple that its rest would not
  // have 60 bits more than it needs.
  constexpr double kHalfPi = 0x1.921fb54442d18p+0;
  constexpr Double2 kHalfPiLow = {0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110};
  const double k = Rounded(angle * 0x1.45f306dc9c883p-1);  // angle / (pi / 2)
  Double2 rest = {angle};
  if (k != 0) {
    const Double2 product = Product(k, kHalfPi);
    // The difference of the high parts is exact, as these are near each other.
    rest = Double2{angle - product.high} + Double2{-product.low} + -(Double2{k} * kHalfPiLow);
  }
  const double sin = SinOfRest(rest), cos = CosOfRest(rest);
  switch (static_cast<int64_t>(k) & 3) {
    case 0:
      return {sin, cos};
    case 1:
      return {cos, -sin};
    case 2:
      return {-sin, -cos};
    default:
      return {-cos, sin};
  }
}

}  // namespace fptq
