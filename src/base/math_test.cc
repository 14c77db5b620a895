#include "base/math.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace fptq {
namespace {

// The C library's functions of long double, which are right to 2^-63 of their value or better, are
// the oracle: long double has 11 bits more than double on x86, 60 on arm64.
static_assert(std::numeric_limits<long double>::digits >= 64);

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kDraws = 100'000;

// How far `found` is from `exact`, in units in the last place.
double UlpError(double found, long double exact) {
  const auto rounded = static_cast<double>(exact);
  if (std::isnan(rounded) || std::isinf(rounded) || std::isinf(found)) {
    return found == rounded || (std::isnan(found) && std::isnan(rounded)) ? 0 : kInfinity;
  }
  int exponent = 0;
  std::frexp(rounded, &exponent);
  const long double ulp = std::ldexp(1.0L, std::max(exponent - 53, -1074));
  return static_cast<double>(std::abs(found - exact) / ulp);
}

// Draws arguments and keeps the largest error.
class Draws {
 public:
  double Uniform(double from, double to) {
    return from + (to - from) * (static_cast<double>(random_() >> 11) * 0x1p-53);
  }
  // Of every size between two powers of 2.
  double Size(double from, double to) { return Uniform(1, 2) * std::exp2(Uniform(from, to)); }
  double Sign() { return random_() % 2 == 0 ? 1 : -1; }

  template <typename Draw, typename F, typename Oracle>
  void ExpectExact(double bound, Draw draw, F f, Oracle oracle) {
    double worst = 0, worst_at = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double x = draw();
      const double error = UlpError(f(x), oracle(static_cast<long double>(x)));
      if (error <= worst) continue;
      worst = error;
      worst_at = x;
    }
    EXPECT_LE(worst, bound) << "at " << worst_at;
    EXPECT_GE(worst, 0.49);  // else the oracle would be no better than what it judges
  }

 private:
  std::mt19937_64 random_{1};
};

double SinOf(double x) { return SinCosOf(x).sin; }
double CosOf(double x) { return SinCosOf(x).cos; }

long double Expl(long double x) { return std::exp(x); }
long double Exp2l(long double x) { return std::exp2(x); }
long double Logl(long double x) { return std::log(x); }
long double Log2l(long double x) { return std::log2(x); }
long double Log10l(long double x) { return std::log10(x); }
long double Sinl(long double x) { return std::sin(x); }
long double Cosl(long double x) { return std::cos(x); }

// 0.5 is what rounding the exact value costs; the rest is what math.cc says of its last steps. A
// denormal is rounded twice.
// Bit by bit, wherever the numbers stand.
TEST(Math, ExponentialsOfEach) {
  std::vector<double> numbers = {0,    -0.0, 1,   -1,       1e-300,    -745.1,
                                 -746, 709,  710, INFINITY, -INFINITY, NAN};
  for (int i = -750; i <= 720; ++i) numbers.push_back(i / 1.03);
  for (int i = -40000; i < 0; ++i) numbers.push_back(i / 1003.0);
  std::vector<double> found = numbers;
  ExpEach(found);
  for (size_t i = 0; i < numbers.size(); ++i) {
    const double expected = Exp(numbers[i]);
    EXPECT_EQ(std::memcmp(&found[i], &expected, sizeof(expected)), 0) << numbers[i];
  }
}

TEST(Math, Exponentials) {
  Draws draws;
  draws.ExpectExact(
      0.52, [&] { return draws.Uniform(-700, 709.7); }, Exp, Expl);
  draws.ExpectExact(
      0.52, [&] { return draws.Sign() * draws.Size(-40, 0); }, Exp, Expl);
  draws.ExpectExact(
      0.78, [&] { return draws.Uniform(-746, -708); }, Exp, Expl);
  draws.ExpectExact(
      0.52, [&] { return draws.Uniform(-1020, 1024); }, Exp2, Exp2l);
  draws.ExpectExact(
      0.78, [&] { return draws.Uniform(-1076, -1021); }, Exp2, Exp2l);
  EXPECT_EQ(Exp(0), 1);
  EXPECT_EQ(Exp(-0.0), 1);
  EXPECT_EQ(Exp(710), kInfinity);
  EXPECT_LE(UlpError(Exp(0x1.62e42fefa39efp+9), Expl(0x1.62e42fefa39efp+9L)), 0.52);
  EXPECT_EQ(Exp(0x1.62e42fefa39fp+9), kInfinity);
  EXPECT_EQ(Exp(-745.13), 0x1p-1074);
  EXPECT_EQ(Exp(-745.14), 0);
  for (const double x : {1e9, 1e308, kInfinity}) {
    EXPECT_EQ(Exp(x), kInfinity);
    EXPECT_EQ(Exp(-x), 0);
    EXPECT_EQ(Exp2(x), kInfinity);
    EXPECT_EQ(Exp2(-x), 0);
  }
  EXPECT_TRUE(std::isnan(Exp(NAN)));
  EXPECT_TRUE(std::isnan(Exp2(NAN)));
  for (int i = -1074; i < 1024; ++i) EXPECT_EQ(Exp2(i), std::ldexp(1.0, i));
}

TEST(Math, Logarithms) {
  Draws draws;
  const auto any = [&] { return draws.Size(-1074, 1023); };
  const auto near_1 = [&] { return 1 + draws.Sign() * 0.5 * draws.Size(-52, -1); };
  draws.ExpectExact(0.51, any, Log, Logl);
  draws.ExpectExact(0.51, near_1, Log, Logl);
  draws.ExpectExact(0.51, any, Log2, Log2l);
  draws.ExpectExact(0.51, near_1, Log2, Log2l);
  draws.ExpectExact(0.51, any, Log10, Log10l);
  for (double (*const log)(double) : {Log, Log2, Log10}) {
    EXPECT_EQ(log(1), 0);
    EXPECT_EQ(log(0), -kInfinity);
    EXPECT_EQ(log(-0.0), -kInfinity);
    EXPECT_EQ(log(kInfinity), kInfinity);
    EXPECT_TRUE(std::isnan(log(-1)));
    EXPECT_TRUE(std::isnan(log(-kInfinity)));
    EXPECT_TRUE(std::isnan(log(NAN)));
  }
  for (int i = -1074; i < 1024; ++i) EXPECT_EQ(Log2(std::ldexp(1.0, i)), i);
  double power = 1;
  for (int i = 0; i <= 22; ++i, power *= 10) EXPECT_EQ(Log10(power), i);
}

TEST(Math, Powers) {
  Draws draws;
  double y = 0;
  const auto rope = [&] {
    y = draws.Uniform(-1, 1);
    return draws.Size(0, 49);
  };
  const auto any = [&] {
    y = draws.Sign() * draws.Size(-60, 11);
    return draws.Size(-1074, 1023);
  };
  const auto pow = [&](double x) { return Pow(x, y); };
  const auto oracle = [&](long double x) { return std::pow(x, static_cast<long double>(y)); };
  draws.ExpectExact(0.52, rope, pow, oracle);
  draws.ExpectExact(0.78, any, pow, oracle);
  EXPECT_EQ(Pow(0, 0), 1);
  EXPECT_EQ(Pow(NAN, 0), 1);
  EXPECT_EQ(Pow(1, kInfinity), 1);
  EXPECT_EQ(Pow(0, 2), 0);
  EXPECT_EQ(Pow(0, -2), kInfinity);
  EXPECT_EQ(Pow(2, kInfinity), kInfinity);
  EXPECT_EQ(Pow(0.5, kInfinity), 0);
  EXPECT_EQ(Pow(kInfinity, -1), 0);
  EXPECT_EQ(Pow(1 + 0x1p-52, 1e300), kInfinity);
  EXPECT_EQ(Pow(1 - 0x1p-53, 1e300), 0);
  EXPECT_TRUE(std::isnan(Pow(-2, 2)));
  EXPECT_TRUE(std::isnan(Pow(2, NAN)));
  double power = 1;
  for (int i = 0; i <= 22; ++i, power *= 10) EXPECT_EQ(Pow(10, i), power);
}

TEST(Math, SineAndCosine) {
  Draws draws;
  const auto any = [&] { return draws.Sign() * draws.Size(-60, 31); };
  // A position times a frequency, in float.
  const auto angle = [&] { return double{static_cast<float>(draws.Size(-20, 30))}; };
  // Next to the zeros of either, where the reduction loses most.
  const auto near_zero = [&] { return std::floor(draws.Size(0, 30)) * 0x1.921fb54442d18p+0; };
  draws.ExpectExact(0.8, any, SinOf, Sinl);
  draws.ExpectExact(0.8, any, CosOf, Cosl);
  draws.ExpectExact(0.8, angle, SinOf, Sinl);
  draws.ExpectExact(0.8, angle, CosOf, Cosl);
  draws.ExpectExact(0.8, near_zero, SinOf, Sinl);
  draws.ExpectExact(0.8, near_zero, CosOf, Cosl);
  EXPECT_EQ(SinOf(0), 0);
  EXPECT_EQ(CosOf(0), 1);
  EXPECT_EQ(SinOf(0x1p-1074), 0x1p-1074);
  EXPECT_LE(UlpError(SinOf(kMaxAngle), Sinl(kMaxAngle)), 0.8);
  EXPECT_LE(UlpError(CosOf(-kMaxAngle), Cosl(kMaxAngle)), 0.8);
  // The two floats and the two doubles in this range that are nearest to a multiple of pi / 2.
  for (const double x :
       {0x1.f9cbe2p+7, 0x1.4665d2p+25, 0x1.6c6cbc45dc8dep+5, 0x1.b951f1572eba5p+23}) {
    EXPECT_LE(UlpError(SinOf(x), Sinl(x)), 0.8);
    EXPECT_LE(UlpError(CosOf(x), Cosl(x)), 0.8);
  }
  for (const double x : {double{NAN}, kInfinity, -kInfinity}) {
    EXPECT_TRUE(std::isnan(SinOf(x)));
    EXPECT_TRUE(std::isnan(CosOf(x)));
  }
}

// Golden bits: another compiler, C library or processor must give the same.
TEST(Math, GivesTheseBits) {
  uint64_t hash = 0;
  const auto add = [&](double x) {
    hash = (hash ^ std::bit_cast<uint64_t>(x)) * 0x9e3779b97f4a7c15 + (hash >> 29);
  };
  for (int i = 1; i < 1000; ++i) {
    const double x = i * 0.70703125, y = i * 0.00390625 - 2;
    for (const double value : {Exp(x), Exp(-x), Exp2(y), Log(x), Log2(x), Log10(x), Pow(x, y),
                               SinOf(x * 1e6), CosOf(x * 1e6)}) {
      add(value);
    }
  }
  EXPECT_EQ(hash, 5498017507930335873u);
}

}  // namespace
}  // namespace fptq
