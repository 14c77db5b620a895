#include "quant/group_quant.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "quant/storage.h"

namespace fptq {
namespace {

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
inline float RoundToInt4(float x) {
  constexpr float kMagic = 0x1.8p23f;
  x = std::min(std::max(x, -8.0f), 7.0f);
  return (x + kMagic) - kMagic;
}

// The sum of f(i) for i < n, a multiple of 8, in lanes that the compiler can make vectors of.
template <typename F>
double Sum(int64_t n, F f) {
  constexpr int kLanes = 8;
  double lanes[kLanes] = {};
  for (int64_t i = 0; i < n; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += f(i + lane);
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

// One group: its weights w, the weights d of their errors, and d * w. Its size is a multiple of 32.
struct Group {
  const float* w;
  const float* d;
  const float* dw;
  int64_t size;

  // The fits by scales 1 / inverse_scales[i].
  template <size_t kCount>
  std::array<Fit, kCount> Fits(const std::array<float, kCount>& inverse_scales) const {
    std::array<float, kCount> wq, qq;
    Kernels().fit_int4({.w = w,
                        .d = d,
                        .dw = dw,
                        .n = size,
                        .inverse_scales = inverse_scales.data(),
                        .count = kCount,
                        .wq = wq.data(),
                        .qq = qq.data()});
    std::array<Fit, kCount> fits;
    for (size_t i = 0; i < kCount; ++i) fits[i] = {wq[i], qq[i]};
    return fits;
  }
};

// The best scale of a group, as it is stored; 1 for a group of zeros.
float SearchScale(const Group& group, DataType dtype) {
  float absmax = 0;
  for (int64_t i = 0; i < group.size; ++i) absmax = std::max(absmax, std::abs(group.w[i]));
  if (absmax == 0) return 1;
  float scale = absmax / 7;
  if (!std::isnormal(scale)) return RoundToStoredScale(scale, dtype);

  // The largest weight falls on +-kFirst, kFirst + kStep, ...: below 7 the range is wasted, beyond
  // 8 it clips.
  constexpr float kFirst = 5.0f, kStep = 0.25f;
  constexpr int kSteps = 25;
  std::array<float, 2 * kSteps> inverse_scales;
  for (size_t i = 0; i < kSteps; ++i) {
    const float steps = kFirst + kStep * static_cast<float>(i);
    inverse_scales[2 * i] = steps / absmax;
    inverse_scales[2 * i + 1] = -steps / absmax;
  }
  Fit best;
  for (const Fit& fit : group.Fits(inverse_scales)) {
    if (fit.Gain() > best.Gain()) best = fit;
  }
  // Alternates between the best scale for these q and the best q for this scale.
  constexpr int kRefinements = 4;
  for (int i = 0; i < kRefinements && best.Gain() > 0; ++i) {
    if (!std::isfinite(best.Scale())) break;  // weights so large that their sums overflow
    scale = best.Scale();
    const Fit fit = group.Fits(std::array{1 / scale})[0];
    if (!(fit.Gain() > best.Gain())) break;
    best = fit;
  }
  return RoundToStoredScale(scale, dtype);
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

int64_t GroupSizeFor(int64_t k, int64_t requested) {
  for (const int64_t size : {128, 64, 32}) {
    if (size <= requested && k % size == 0) return size;
  }
  return 0;
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
    std::vector<float> dw(static_cast<size_t>(group_size)), q(dw.size());
    for (int64_t n = begin; n < end; ++n) {
      RowError& row = errors[static_cast<size_t>(n)];
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = n * k + g * group_size;
        const float* const w = linear.weight.data() + first;
        const float* const weights = d.data() + g * group_size;
        for (int64_t i = 0; i < group_size; ++i) dw.data()[i] = weights[i] * w[i];
        const float scale =
            SearchScale({.w = w, .d = weights, .dw = dw.data(), .size = group_size}, dtype);
        result.scales[static_cast<size_t>(n * groups + g)] = scale;
        for (int64_t i = 0; i < group_size; ++i) q.data()[i] = RoundToInt4(w[i] / scale);
        for (int64_t i = 0; i < group_size; ++i) {
          result.q[static_cast<size_t>(first + i)] = static_cast<int8_t>(q.data()[i]);
        }
        row.norm += Sum(group_size, [&](int64_t i) { return double{dw.data()[i]} * double{w[i]}; });
        row.error += Sum(group_size, [&](int64_t i) {
          const double difference = double{w[i]} - double{scale} * double{q.data()[i]};
          return double{weights[i]} * difference * difference;
        });
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
