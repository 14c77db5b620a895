#include "quant/round/gptq.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "quant/round/storage.h"

namespace fptq {
namespace {

// Output channels that a thread rounds together. Everything about them is stored input channel
// after input channel, so that loops over them are loops over vectors.
constexpr int64_t kRows = 128;
constexpr int64_t kMaxBlock = std::max(OutputError::kBlock, OutputError::kMaxGroup);

using RowSums = std::array<double, kRows>;

// Some output channels of a linear in work. Those beyond `rows` are zero. Here q is what the scale
// multiplies, zero points taken off: lowest .. lowest + 15.
struct RowBlock {
  RowBlock(const OutputError& output_error, const SourceLinear& linear, int64_t first_row);

  const float* Scale(int64_t channel) const {
    return scales.data() + channel / error.group_size() * kRows;
  }
  const float* Lowest(int64_t channel) const {
    return lowest.data() + channel / error.group_size() * kRows;
  }

  const OutputError& error;
  int64_t k, rows;
  AlignedBuffer<float> w;     // [k, kRows]
  AlignedBuffer<float> q;     // [k, kRows]
  AlignedBuffer<float> sums;  // [k, kRows]: feedback in the order of rounding, or the gradient E H
  AlignedBuffer<float> scales;   // [k / group_size, kRows]
  AlignedBuffer<float> lowest;   // [k / group_size, kRows]: -8 - zero point
  AlignedBuffer<float> factors;  // [kRows / 16, channels of a block, 16]: weights of the float GEMM
};

RowBlock::RowBlock(const OutputError& output_error, const SourceLinear& linear, int64_t first_row)
    : error(output_error),
      k(error.k()),
      rows(std::min(kRows, linear.channels - first_row)),
      w(k * kRows),
      q(k * kRows),
      sums(k * kRows),
      scales(k / error.group_size() * kRows),
      lowest(scales.size()),
      factors(kMaxBlock * kRows) {
  constexpr int64_t kStep = 16;
  for (int64_t j = 0; j < k; j += kStep) {
    for (int64_t r = 0; r < rows; ++r) {
      const float* from = linear.weight.data() + (first_row + r) * k + j;
      for (int64_t c = 0; c < kStep; ++c) w[(j + c) * kRows + r] = from[c];
    }
  }
}

// Row j of a matrix [channels, kRows] in the layout of RowBlock::factors.
void SetFactor(const float* row, int64_t j, int64_t channels, float* factors) {
  for (int64_t tile = 0; tile < kRows / kTileChannels; ++tile) {
    std::copy_n(row + tile * kTileChannels, kTileChannels,
                factors + (tile * channels + j) * kTileChannels);
  }
}

// out[rows, kRows] (+)= panel[rows, channels] factors[channels, kRows].
void Multiply(const float* panel, int64_t rows, int64_t channels, const float* factors,
              bool accumulate, float* out) {
  if (rows == 0) return;
  Kernels().gemm_f32({.activations = panel,
                      .rows = rows,
                      .k = channels,
                      .weights = factors,
                      .bias = nullptr,
                      .channels = kRows,
                      .tile_begin = 0,
                      .tile_end = kRows / kTileChannels,
                      .out = out,
                      .out_stride = kRows,
                      .accumulate = accumulate});
}

// a += factor * b, one of each a row.
inline void AddMultiple(const float* factor, float b, float* a) {
  for (int64_t r = 0; r < kRows; ++r) a[r] += factor[r] * b;
}

// Goes through the channels in the order of rounding. With x_j = w_j + sum_{i before j} e_i R_ij /
// R_jj and e_j = w_j - s q_j, the error e H e^T is sum_j R_jj^2 (x_j - s q_j)^2, which is returned
// of each row. `choose(channel, x, q)` chooses q of a channel.
template <typename Choose>
RowSums RoundInOrder(RowBlock& block, Choose choose) {
  const OutputError& error = block.error;
  const int64_t k = block.k;
  RowSums sums = {};
  std::ranges::fill(block.sums.span(), 0.0f);
  alignas(64) float x[OutputError::kBlock][kRows], e[kRows];
  for (int64_t first = 0; first < k; first += OutputError::kBlock) {
    const int64_t width = std::min(OutputError::kBlock, k - first), end = first + width;
    const int32_t* order = error.order().data() + first;
    const float* panel = error.Feedback(first / OutputError::kBlock);
    for (int64_t j = 0; j < width; ++j) {
      const float* w = block.w.data() + order[j] * kRows;
      const float* feedback = block.sums.data() + (first + j) * kRows;
      for (int64_t r = 0; r < kRows; ++r) x[j][r] = w[r] + feedback[r];
    }
    for (int64_t j = 0; j < width; ++j) {
      const float* w = block.w.data() + order[j] * kRows;
      const float* scale = block.Scale(order[j]);
      float* q = block.q.data() + order[j] * kRows;
      choose(order[j], x[j], q);
      const double pivot = error.pivots()[static_cast<size_t>(first + j)];
      for (int64_t r = 0; r < kRows; ++r) {
        const float rounded = q[r] * scale[r];
        e[r] = w[r] - rounded;
        const double left = pivot * double{x[j][r] - rounded};
        sums[static_cast<size_t>(r)] += left * left;
      }
      SetFactor(e, j, width, block.factors.data());
      for (int64_t i = j + 1; i < width; ++i) AddMultiple(e, panel[(first + i) * width + j], x[i]);
    }
    Multiply(panel + end * width, k - end, width, block.factors.data(), /*accumulate=*/true,
             block.sums.data() + end * kRows);
  }
  return sums;
}

// The q nearest to w / s.
void RoundPlainly(const RowBlock& block, int64_t channel, float* q) {
  const float* w = block.w.data() + channel * kRows;
  const float *scale = block.Scale(channel), *lowest = block.Lowest(channel);
  for (int64_t r = 0; r < kRows; ++r) q[r] = RoundToInt4(w[r] / scale[r], lowest[r]);
}

// Of each row GPTQ's q or, if they are no worse than it, the nearest.
RowSums ChooseRounding(RowBlock& block) {
  const RowSums plain = RoundInOrder(
      block, [&](int64_t channel, const float*, float* q) { RoundPlainly(block, channel, q); });
  RowSums errors = RoundInOrder(block, [&](int64_t channel, const float* x, float* q) {
    const float *scale = block.Scale(channel), *lowest = block.Lowest(channel);
    for (int64_t r = 0; r < kRows; ++r) q[r] = RoundToInt4(x[r] / scale[r], lowest[r]);
  });
  alignas(64) float nearest[kRows];
  for (int64_t j = 0; j < block.k; ++j) {
    RoundPlainly(block, j, nearest);
    for (int64_t r = 0; r < block.rows; ++r) {
      const auto row = static_cast<size_t>(r);
      if (plain[row] < errors[row]) block.q[j * kRows + r] = nearest[r];
    }
  }
  for (size_t r = 0; r < errors.size(); ++r) errors[r] = std::min(errors[r], plain[r]);
  return errors;
}

// sums = E H.
void ComputeGradient(RowBlock& block) {
  const int64_t size = block.error.group_size();
  std::ranges::fill(block.sums.span(), 0.0f);
  alignas(64) float e[kRows];
  for (int64_t first = 0; first < block.k; first += size) {
    const float* scale = block.Scale(first);
    for (int64_t j = 0; j < size; ++j) {
      const int64_t at = (first + j) * kRows;
      for (int64_t r = 0; r < kRows; ++r) e[r] = block.w[at + r] - block.q[at + r] * scale[r];
      SetFactor(e, j, size, block.factors.data());
    }
    Multiply(block.error.Coupling(first / size), block.k, size, block.factors.data(),
             /*accumulate=*/true, block.sums.data());
  }
}

// A group while its scale and its q are improved.
struct GroupState {
  alignas(64) float start[OutputError::kMaxGroup][kRows];     // s q in the beginning
  alignas(64) float gradient[OutputError::kMaxGroup][kRows];  // E H of the group's channels
  alignas(64) float coupled[OutputError::kMaxGroup][kRows];   // H q of the group's channels
  RowSums fall;                                               // of the errors
};

// The best scale for the group's q, s + q g / q H q, as far as it can be stored. `q`: [size,
// kRows], `scale`: [kRows].
void ImproveScale(const float* panel, int64_t first, int64_t size, DataType dtype, const float* q,
                  float* factors, float* scale, GroupState& group) {
  alignas(64) float qg[kRows] = {}, qhq[kRows] = {}, change[kRows] = {};
  for (int64_t j = 0; j < size; ++j) SetFactor(q + j * kRows, j, size, factors);
  Multiply(panel + first * size, size, size, factors, /*accumulate=*/false, group.coupled[0]);
  for (int64_t j = 0; j < size; ++j) {
    for (int64_t r = 0; r < kRows; ++r) {
      qg[r] += q[j * kRows + r] * group.gradient[j][r];
      qhq[r] += q[j * kRows + r] * group.coupled[j][r];
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    if (!(qhq[r] > 0)) continue;
    const float best = scale[r] + qg[r] / qhq[r];
    if (!std::isfinite(best)) continue;
    const float better = RoundToStoredScale(best, dtype);
    const float step = better - scale[r];
    const float fall = step * (2 * qg[r] - step * qhq[r]);
    if (!(fall > 0)) continue;
    scale[r] = better;
    change[r] = -step;
    group.fall[static_cast<size_t>(r)] += double{fall};
  }
  for (int64_t j = 0; j < size; ++j) {
    for (int64_t r = 0; r < kRows; ++r) group.gradient[j][r] += change[r] * group.coupled[j][r];
  }
}

// The best q of each channel in turn, q + g / (s H_jj). Only the gradient of those to come is kept.
void ImproveChannels(const OutputError& error, const float* panel, int64_t first, int64_t size,
                     const float* scale, const float* lowest, float* q, GroupState& group) {
  alignas(64) float inverse[kRows], change[kRows];
  for (int64_t r = 0; r < kRows; ++r) inverse[r] = 1 / scale[r];
  for (int64_t j = 0; j < size; ++j, q += kRows) {
    const float h = error.diagonal()[static_cast<size_t>(first + j)], inverse_h = 1 / h;
    const float* gradient = group.gradient[j];
    for (int64_t r = 0; r < kRows; ++r) {
      const float best = RoundToInt4(q[r] + gradient[r] * inverse_h * inverse[r], lowest[r]);
      change[r] = (q[r] - best) * scale[r];
      group.fall[static_cast<size_t>(r)] -= double{change[r] * (2 * gradient[r] + change[r] * h)};
      q[r] = best;
    }
    for (int64_t i = j + 1; i < size; ++i) {
      AddMultiple(change, panel[(first + i) * size + j], group.gradient[i]);
    }
  }
}

// One sweep over the groups; returns by how much the errors fell. `last`: afterwards `sums` is not
// needed any more.
RowSums Descend(DataType dtype, bool last, RowBlock& block) {
  const OutputError& error = block.error;
  const int64_t size = error.group_size();
  static thread_local GroupState group;
  group.fall = {};
  alignas(64) float change[kRows];
  for (int64_t first = 0; first < block.k; first += size) {
    const float* panel = error.Coupling(first / size);
    float* scale = block.scales.data() + first / size * kRows;
    float* q = block.q.data() + first * kRows;
    std::copy_n(block.sums.data() + first * kRows, size * kRows, group.gradient[0]);
    for (int64_t j = 0; j < size; ++j) {
      for (int64_t r = 0; r < kRows; ++r) group.start[j][r] = q[j * kRows + r] * scale[r];
    }
    ImproveScale(panel, first, size, dtype, q, block.factors.data(), scale, group);
    ImproveChannels(error, panel, first, size, scale, block.Lowest(first), q, group);
    for (int64_t j = 0; j < size; ++j) {
      for (int64_t r = 0; r < kRows; ++r) {
        change[r] = group.start[j][r] - q[j * kRows + r] * scale[r];
      }
      SetFactor(change, j, size, block.factors.data());
    }
    const int64_t from = last ? first + size : 0;
    Multiply(panel + from * size, block.k - from, size, block.factors.data(), /*accumulate=*/true,
             block.sums.data() + from * kRows);
  }
  return group.fall;
}

// Rounds the block; returns the errors of its rows.
RowSums RoundBlock(int sweeps, DataType dtype, RowBlock& block) {
  RowSums errors = ChooseRounding(block);
  if (sweeps == 0) return errors;
  ComputeGradient(block);
  for (int sweep = 0; sweep < sweeps; ++sweep) {
    const RowSums fall = Descend(dtype, sweep + 1 == sweeps, block);
    for (size_t r = 0; r < errors.size(); ++r) errors[r] -= fall[r];
  }
  return errors;
}

}  // namespace

GroupQuantized RoundGptq(const SourceLinear& linear, const OutputError& error, int sweeps,
                         const GroupFormat& format, ThreadPool& pool) {
  const int64_t k = linear.k, groups = k / format.size;
  FPTQ_CHECK(k == error.k() && format.size == error.group_size());
  GroupQuantized result = QuantizeGroups(linear, error.diagonal(), format, pool);
  std::vector<double> errors(static_cast<size_t>(linear.channels));
  std::vector<double> norms(errors.size());  // w H w^T
  pool.ParallelEach((linear.channels + kRows - 1) / kRows, [&](int64_t i) {
    const int64_t first = i * kRows;
    RowBlock block(error, linear, first);
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t r = 0; r < kRows; ++r) {
        const int64_t index = (first + r) * groups + g;
        const bool is_row = r < block.rows;
        block.scales[g * kRows + r] = is_row ? result.scales[static_cast<size_t>(index)] : 1.0f;
        block.lowest[g * kRows + r] =
            static_cast<float>(is_row ? -8 - result.ZeroPoint(index) : -8);
      }
    }
    const RowSums norm =
        RoundInOrder(block, [](int64_t, const float*, float* q) { std::fill_n(q, kRows, 0.0f); });
    std::copy_n(norm.begin(), block.rows, norms.begin() + first);
    const RowSums left = RoundBlock(sweeps, format.dtype, block);
    std::copy_n(left.begin(), block.rows, errors.begin() + first);
    for (int64_t r = 0; r < block.rows; ++r) {
      const auto row = static_cast<size_t>(first + r);
      for (int64_t g = 0; g < groups; ++g) {
        result.scales[row * static_cast<size_t>(groups) + static_cast<size_t>(g)] =
            block.scales[g * kRows + r];
      }
      int8_t* q = result.q.data() + (first + r) * k;
      for (int64_t j = 0; j < k; ++j) {
        // -8 is the lowest q that is stored.
        q[j] = static_cast<int8_t>(block.q[j * kRows + r] - block.Lowest(j)[r] - 8);
      }
    }
  });
  const double error_sum = std::accumulate(errors.begin(), errors.end(), 0.0);
  const double norm_sum = std::accumulate(norms.begin(), norms.end(), 0.0);
  result.relative_error = norm_sum > 0 ? std::sqrt(std::max(error_sum, 0.0) / norm_sum) : 0;
  return result;
}

// The norm, plain rounding and GPTQ take half a pass each; the gradient and each sweep a whole one,
// but the last sweep half of it.
double GptqGemmPasses(int sweeps) { return sweeps == 0 ? 1.5 : 2 + sweeps; }

}  // namespace fptq
