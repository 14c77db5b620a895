#include "quant/round/group_quant.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "quant/round/storage.h"

namespace fptq {
namespace {

// For the q, zero point taken off, that a scale leads to: sum d w q and sum d q^2. The best scale
// for these q is their ratio (least squares), and it lowers the error from sum d w^2 by `Gain`.
struct Fit {
  float wq = 0;
  float qq = 0;

  float Scale() const { return wq / qq; }
  float Gain() const { return qq > 0 ? wq * wq / qq : 0; }
};

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

  // The fits by scales 1 / inverse_scales[i] with q from lowest[i] on.
  template <size_t kCount>
  std::array<Fit, kCount> Fits(const std::array<float, kCount>& inverse_scales,
                               const std::array<float, kCount>& lowest) const {
    std::array<float, kCount> wq, qq;
    Kernels().fit_int4({.w = w,
                        .d = d,
                        .dw = dw,
                        .n = size,
                        .inverse_scales = inverse_scales.data(),
                        .lowest = lowest.data(),
                        .count = kCount,
                        .wq = wq.data(),
                        .qq = qq.data()});
    std::array<Fit, kCount> fits;
    for (size_t i = 0; i < kCount; ++i) fits[i] = {wq[i], qq[i]};
    return fits;
  }
};

// What the q of a group stand for: (q - zero point) * scale.
struct Grid {
  float scale = 1;
  int zero_point = 0;

  float lowest() const { return static_cast<float>(-8 - zero_point); }  // of q - zero point
};

// Scales to try, as their inverses, each with the lowest q - zero point.
template <size_t kCount>
struct Candidates {
  std::array<float, kCount> inverse_scales, lowest;
};

// The largest weight falls on +-kFirst, kFirst + kStep, ...: below 7 the range is wasted, beyond 8
// it clips.
constexpr int kSymmetricSteps = 25;
Candidates<2 * kSymmetricSteps> SymmetricCandidates(float absmax) {
  constexpr float kFirst = 5.0f, kStep = 0.25f;
  Candidates<2 * kSymmetricSteps> result;
  for (size_t i = 0; i < kSymmetricSteps; ++i) {
    const float steps = kFirst + kStep * static_cast<float>(i);
    result.inverse_scales[2 * i] = steps / absmax;
    result.inverse_scales[2 * i + 1] = -steps / absmax;
  }
  result.lowest.fill(-8);
  return result;
}

// From the lowest weight to the highest, 0 among them, are kFirst, kFirst + kStep, ... steps: below
// 15 the range is wasted, beyond it clips. Its middle falls on that of the integers.
constexpr int kAsymmetricSteps = 19;
Candidates<kAsymmetricSteps> AsymmetricCandidates(double low, double high) {
  constexpr double kFirst = 9, kStep = 0.5;
  Candidates<kAsymmetricSteps> result;
  for (size_t i = 0; i < kAsymmetricSteps; ++i) {
    const double inverse = (kFirst + kStep * static_cast<double>(i)) / (high - low);
    result.inverse_scales[i] = static_cast<float>(inverse);
    const double middle = (high + low) / 2 * inverse;
    result.lowest[i] = static_cast<float>(std::clamp(std::nearbyint(middle - 7.5), -15.0, 0.0));
  }
  return result;
}

// The best of the candidates, refined; `grid` if there is none.
template <size_t kCount>
Grid BestGrid(const Group& group, const Candidates<kCount>& candidates, Grid grid) {
  const std::array<Fit, kCount> fits = group.Fits(candidates.inverse_scales, candidates.lowest);
  Fit best;
  float lowest = -8;
  for (size_t i = 0; i < kCount; ++i) {
    if (!(fits[i].Gain() > best.Gain())) continue;
    best = fits[i];
    lowest = candidates.lowest[i];
  }
  // Alternates between the best scale for these q and the best q for this scale.
  constexpr int kRefinements = 4;
  for (int i = 0; i < kRefinements && best.Gain() > 0; ++i) {
    if (!std::isfinite(best.Scale())) break;  // weights so large that their sums overflow
    grid = {.scale = best.Scale(), .zero_point = -8 - static_cast<int>(lowest)};
    const Fit fit = group.Fits(std::array{1 / grid.scale}, std::array{lowest})[0];
    if (!(fit.Gain() > best.Gain())) break;
    best = fit;
  }
  return grid;
}

// The best grid of a group, its scale as it is stored; of a group of zeros that of scale 1.
Grid SearchGrid(const Group& group, const GroupFormat& format) {
  float low = 0, high = 0;
  for (int64_t i = 0; i < group.size; ++i) {
    low = std::min(low, group.w[i]);
    high = std::max(high, group.w[i]);
  }
  const float absmax = std::max(-low, high);
  if (absmax == 0) return {};
  Grid grid = {.scale = absmax / 7};
  if (std::isnormal(grid.scale)) {
    grid = format.symmetric ? BestGrid(group, SymmetricCandidates(absmax), grid)
                            : BestGrid(group, AsymmetricCandidates(low, high), grid);
  }
  grid.scale = RoundToStoredScale(grid.scale, format.dtype);
  return grid;
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
                              const GroupFormat& format, ThreadPool& pool) {
  const int64_t k = linear.k, group_size = format.size;
  const int64_t groups = k / group_size;
  FPTQ_CHECK(k % group_size == 0 && group_size % 32 == 0 && std::ssize(mean_squares) == k);
  const std::vector<float> d = ErrorWeights(mean_squares);
  GroupQuantized result;
  result.group_size = group_size;
  result.q.resize(static_cast<size_t>(linear.channels * k));
  result.scales.resize(static_cast<size_t>(linear.channels * groups));
  if (!format.symmetric) result.zero_points.resize(result.scales.size());
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
        const Grid grid =
            SearchGrid({.w = w, .d = weights, .dw = dw.data(), .size = group_size}, format);
        const float scale = grid.scale, lowest = grid.lowest();
        const auto index = static_cast<size_t>(n * groups + g);
        result.scales[index] = scale;
        if (!format.symmetric) result.zero_points[index] = static_cast<int8_t>(grid.zero_point);
        for (int64_t i = 0; i < group_size; ++i) q.data()[i] = RoundToInt4(w[i] / scale, lowest);
        const auto zero_point = static_cast<float>(grid.zero_point);
        for (int64_t i = 0; i < group_size; ++i) {
          result.q[static_cast<size_t>(first + i)] = static_cast<int8_t>(q.data()[i] + zero_point);
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
