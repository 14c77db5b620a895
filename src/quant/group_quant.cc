#include "quant/group_quant.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "quant/storage.h"

namespace fptq {
namespace {

// Four floats side by side: with the compiler's vector types, since it does not vectorize these
// loops by itself. Any machine gives the same bits.
using Vec = float __attribute__((vector_size(16)));
constexpr int64_t kLanes = 4;

inline Vec Load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

inline float Sum(Vec v) { return (v[0] + v[1]) + (v[2] + v[3]); }

// For the q that a scale leads to: sum d w q and sum d q^2. The best scale for these q is their
// ratio (least squares), and it lowers the error from sum d w^2 by `Gain`.
struct Fit {
  float wq = 0;
  float qq = 0;

  float Scale() const { return wq / qq; }
  float Gain() const { return qq > 0 ? wq * wq / qq : 0; }
};

// Half to even, by adding a number so large that its last digit is 1. Clamping first gives the same
// and bounds what is rounded.
inline Vec RoundToInt4(Vec x) {
  constexpr float kMagic = 0x1.8p23f;
  x = x < -8.0f ? Vec{} - 8.0f : x;
  x = x > 7.0f ? Vec{} + 7.0f : x;
  return (x + kMagic) - kMagic;
}

inline float RoundToInt4(float x) { return RoundToInt4(Vec{} + x)[0]; }

// One group: its weights w, the weights d of their errors, and d * w. Its size is a multiple of 32.
struct Group {
  const float* w;
  const float* d;
  const float* dw;
  int64_t size;

  Fit FitFor(float inverse_scale) const;
  double Error(float scale) const;
};

Fit Group::FitFor(float inverse_scale) const {
  Vec wq = {};
  Vec qq = {};
  for (int64_t i = 0; i < size; i += kLanes) {
    const Vec q = RoundToInt4(Load(w + i) * inverse_scale);
    wq += Load(dw + i) * q;
    qq += Load(d + i) * q * q;
  }
  return {Sum(wq), Sum(qq)};
}

double Group::Error(float scale) const {
  double error = 0;
  for (int64_t i = 0; i < size; ++i) {
    const double difference = double{w[i]} - double{scale} * double{RoundToInt4(w[i] / scale)};
    error += double{d[i]} * difference * difference;
  }
  return error;
}

// The best scale of a group, as it is stored; 1 for a group of zeros.
float SearchScale(const Group& group, DataType dtype) {
  float absmax = 0;
  for (int64_t i = 0; i < group.size; ++i) absmax = std::max(absmax, std::abs(group.w[i]));
  float scale = absmax / 7;
  if (!std::isnormal(scale)) return 1;

  // The largest weight falls on +-kFirst .. +-kLast: below 7 the range is wasted, beyond 8 it
  // clips.
  constexpr float kFirst = 5.0f, kLast = 11.0f, kStep = 0.25f;
  Fit best;
  for (float steps = kFirst; steps <= kLast; steps += kStep) {
    for (const float sign : {1.0f, -1.0f}) {
      const Fit fit = group.FitFor(sign * steps / absmax);
      if (fit.Gain() > best.Gain()) best = fit;
    }
  }
  // Alternates between the best scale for these q and the best q for this scale.
  constexpr int kRefinements = 4;
  for (int i = 0; i < kRefinements && best.Gain() > 0; ++i) {
    scale = best.Scale();
    const Fit fit = group.FitFor(1 / scale);
    if (!(fit.Gain() > best.Gain())) break;
    best = fit;
  }
  const float stored = RoundToStored(scale, dtype);
  return stored != 0 && std::isfinite(stored) ? stored : 1;
}

// d of all channels. A floor keeps the weights of channels that calibration saw dead from being
// ignored: other tokens may use them.
std::vector<float> ErrorWeights(std::span<const float> mean_squares) {
  constexpr double kFloor = 1e-2;  // of the mean
  double mean = 0;
  for (const float value : mean_squares) mean += value;
  mean /= static_cast<double>(mean_squares.size());
  std::vector<float> d(mean_squares.size(), 1.0f);
  if (!(mean > 0)) return d;
  for (size_t j = 0; j < d.size(); ++j) {
    d[j] = static_cast<float>(mean_squares[j] / mean + kFloor);
  }
  return d;
}

struct RowError {
  double error = 0;  // sum d (w - s q)^2
  double norm = 0;   // sum d w^2
};

}  // namespace

int64_t GroupSizeFor(int64_t k, int64_t requested, std::string_view where) {
  for (const int64_t size : {128, 64, 32}) {
    if (size <= requested && k % size == 0) return size;
  }
  throw fptq::Error("{}: expected a multiple of 32 inputs, found {}", where, k);
}

GroupQuantized QuantizeGroups(const SourceLinear& linear, std::span<const float> mean_squares,
                              int64_t group_size, DataType dtype, ThreadPool& pool) {
  const int64_t k = linear.k;
  const int64_t groups = k / group_size;
  FPTQ_CHECK(k % group_size == 0 && group_size % 32 == 0 && std::ssize(mean_squares) == k);
  const std::vector<float> d = ErrorWeights(mean_squares);
  GroupQuantized result;
  result.group_size = group_size;
  result.q.resize(static_cast<size_t>(linear.channels * k));
  result.scales.resize(static_cast<size_t>(linear.channels * groups));
  std::vector<RowError> errors(static_cast<size_t>(linear.channels));

  pool.ParallelFor(linear.channels, [&](int64_t begin, int64_t end) {
    std::vector<float> dw(static_cast<size_t>(group_size));
    for (int64_t n = begin; n < end; ++n) {
      RowError& row = errors[static_cast<size_t>(n)];
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = n * k + g * group_size;
        const Group group{.w = linear.weight.data() + first,
                          .d = d.data() + g * group_size,
                          .dw = dw.data(),
                          .size = group_size};
        for (int64_t i = 0; i < group_size; ++i) {
          dw[static_cast<size_t>(i)] = group.d[i] * group.w[i];
          row.norm += double{group.d[i]} * double{group.w[i]} * double{group.w[i]};
        }
        const float scale = SearchScale(group, dtype);
        result.scales[static_cast<size_t>(n * groups + g)] = scale;
        for (int64_t i = 0; i < group_size; ++i) {
          result.q[static_cast<size_t>(first + i)] =
              static_cast<int8_t>(RoundToInt4(group.w[i] / scale));
        }
        row.error += group.Error(scale);
      }
    }
  });

  RowError total;
  for (const RowError& row : errors) {
    total.error += row.error;
    total.norm += row.norm;
  }
  result.relative_error = total.norm > 0 ? std::sqrt(total.error / total.norm) : 0;
  return result;
}

}  // namespace fptq
