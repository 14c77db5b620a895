#include "quant/gptq.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "quant/cholesky.h"
#include "quant/storage.h"

namespace fptq {
namespace {

constexpr int64_t kRows = 64;       // output channels that a thread rounds together
constexpr int64_t kMaxBlock = 128;  // of channels: a group, or a block of GPTQ

inline float RoundToInt4(float x) {
  constexpr float kMagic = 0x1.8p23f;  // its last digit is 1: adding it rounds, half to even
  x = std::min(std::max(x, -8.0f), 7.0f);
  return (x + kMagic) - kMagic;
}

// `rows` rows of n elements as weights of the float GEMM: [n / 16][rows][16].
void PackTiles(const float* matrix, int64_t n, int64_t rows, float* tiles) {
  for (int64_t tile = 0; tile < n / kTileChannels; ++tile) {
    for (int64_t r = 0; r < rows; ++r) {
      std::copy_n(matrix + r * n + tile * kTileChannels, kTileChannels,
                  tiles + (tile * rows + r) * kTileChannels);
    }
  }
}

// Some output channels of a linear in work, at most kRows.
struct RowBlock {
  RowBlock(const OutputError& output_error, const SourceLinear& linear, int64_t first_row,
           int64_t row_count)
      : error(output_error),
        k(error.k()),
        rows(row_count),
        w(linear.weight.data() + first_row * k),
        q(kRows * k),
        gradient(kRows * k),
        scales(kRows * (k / error.group_size())) {}

  float Scale(int64_t row, int64_t channel) const {
    return scales[row * (k / error.group_size()) + channel / error.group_size()];
  }

  const OutputError& error;
  int64_t k, rows;
  const float* w;                 // [rows, k]
  AlignedBuffer<float> q;         // [rows, k]
  AlignedBuffer<float> gradient;  // [rows, k]: E H
  AlignedBuffer<float> scales;    // [rows, k / group_size]
};

// Values of some channels for kRows rows, channel after channel, so that the compiler can make
// vectors of loops over the rows. Rows that are not there are zero.
using Block = float[kMaxBlock][kRows];

// out[rows, k] += block^T tiles, from column `first` on, a multiple of 16.
void AddProduct(const Block& block, int64_t channels, const float* tiles, int64_t first,
                int64_t rows, int64_t k, float* out) {
  alignas(64) float activations[kRows * kMaxBlock];
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < channels; ++j) activations[r * channels + j] = block[j][r];
  }
  Kernels().gemm_f32({.activations = activations,
                      .rows = rows,
                      .k = channels,
                      .weights = tiles,
                      .bias = nullptr,
                      .channels = k,
                      .tile_begin = first / kTileChannels,
                      .tile_end = k / kTileChannels,
                      .out = out,
                      .out_stride = k,
                      .accumulate = true});
}

// a[i][r] += factor[r] * b for i in [begin, end), b = the row of `tiles` for channel j.
void AddMultiples(const float* factor, const float* tiles, int64_t channels, int64_t j,
                  int64_t column, int64_t begin, int64_t end, Block& a) {
  for (int64_t i = begin; i < end; ++i) {
    const int64_t at = column + i;
    const float b = tiles[(at / kTileChannels * channels + j) * kTileChannels + at % kTileChannels];
    float* to = a[i];
    for (int64_t r = 0; r < kRows; ++r) to[r] += factor[r] * b;
  }
}

void RoundPlainly(RowBlock& block) {
  for (int64_t r = 0; r < block.rows; ++r) {
    for (int64_t j = 0; j < block.k; ++j) {
      block.q[r * block.k + j] = RoundToInt4(block.w[r * block.k + j] / block.Scale(r, j));
    }
  }
}

// GPTQ: x_j = w_j + sum_{i before j} e_i R_ij / R_jj is rounded to q_j, and e_j = w_j - s q_j. The
// error is then sum_j R_jj^2 (x_j - s q_j)^2.
void RoundInOrder(RowBlock& block) {
  const OutputError& error = block.error;
  const int64_t k = block.k;
  AlignedBuffer<float> feedback(kRows * k);  // [rows, k], in the order of rounding
  alignas(64) static thread_local Block x, errors;
  for (int64_t first = 0; first < k; first += OutputError::kBlock) {
    const int64_t width = std::min(OutputError::kBlock, k - first);
    const int32_t* order = error.order().data() + first;
    const float* tiles = error.Feedback(first / OutputError::kBlock);
    for (int64_t j = 0; j < width; ++j) {
      for (int64_t r = 0; r < block.rows; ++r) {
        x[j][r] = block.w[r * k + order[j]] + feedback[r * k + first + j];
      }
    }
    for (int64_t j = 0; j < width; ++j) {
      std::fill_n(errors[j], kRows, 0.0f);
      for (int64_t r = 0; r < block.rows; ++r) {
        const float scale = block.Scale(r, order[j]);
        const float q = RoundToInt4(x[j][r] / scale);
        block.q[r * k + order[j]] = q;
        errors[j][r] = block.w[r * k + order[j]] - q * scale;
      }
      AddMultiples(errors[j], tiles, width, j, first, j + 1, width, x);
    }
    AddProduct(errors, width, tiles, first + width, block.rows, k, feedback.data());
  }
}

// gradient = E H.
void ComputeGradient(RowBlock& block) {
  const int64_t k = block.k, size = block.error.group_size();
  std::fill_n(block.gradient.data(), kRows * k, 0.0f);
  alignas(64) static thread_local Block errors;
  for (int64_t first = 0; first < k; first += size) {
    for (int64_t j = 0; j < size; ++j) {
      for (int64_t r = 0; r < block.rows; ++r) {
        const int64_t at = r * k + first + j;
        errors[j][r] = block.w[at] - block.q[at] * block.Scale(r, first);
      }
    }
    AddProduct(errors, size, block.error.Coupling(first / size), 0, block.rows, k,
               block.gradient.data());
  }
}

// e H e^T of each row.
std::vector<double> Errors(const RowBlock& block) {
  std::vector<double> errors(static_cast<size_t>(block.rows));
  for (int64_t r = 0; r < block.rows; ++r) {
    double sum = 0;
    for (int64_t j = 0; j < block.k; ++j) {
      const int64_t at = r * block.k + j;
      sum += (double{block.w[at]} - double{block.q[at]} * double{block.Scale(r, j)}) *
             double{block.gradient[at]};
    }
    errors[static_cast<size_t>(r)] = sum;
  }
  return errors;
}

// Where a group stands while its scale and its q are improved.
struct GroupState {
  alignas(64) Block q;         // [group_size]
  alignas(64) Block start;     // s q in the beginning, and then by how much it has fallen
  alignas(64) Block gradient;  // E H of the group's channels
  alignas(64) Block coupled;   // H q of the group's channels
  alignas(64) float scale[kRows];
};

void LoadGroup(const RowBlock& block, int64_t first, int64_t size, GroupState& group) {
  for (int64_t r = 0; r < kRows; ++r) group.scale[r] = r < block.rows ? block.Scale(r, first) : 1;
  for (int64_t j = 0; j < size; ++j) {
    for (int64_t r = 0; r < kRows; ++r) {
      const int64_t at = r * block.k + first + j;
      group.q[j][r] = block.q[at];
      group.gradient[j][r] = block.gradient[at];
      group.start[j][r] = block.q[at] * group.scale[r];
      group.coupled[j][r] = 0;
    }
  }
}

// The best scale for the group's q, s + q g / q H q, as far as it can be stored.
void ImproveScale(const float* tiles, int64_t first, int64_t size, int64_t rows, DataType dtype,
                  GroupState& group) {
  alignas(64) float qg[kRows] = {}, qhq[kRows] = {}, change[kRows] = {};
  for (int64_t j = 0; j < size; ++j) {
    AddMultiples(group.q[j], tiles, size, j, first, 0, size, group.coupled);
  }
  for (int64_t j = 0; j < size; ++j) {
    for (int64_t r = 0; r < kRows; ++r) {
      qg[r] += group.q[j][r] * group.gradient[j][r];
      qhq[r] += group.q[j][r] * group.coupled[j][r];
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    if (!(qhq[r] > 0)) continue;
    const float scale = RoundToStored(group.scale[r] + qg[r] / qhq[r], dtype);
    const float step = scale - group.scale[r];
    if (scale == 0 || !std::isfinite(scale) || !(step * (2 * qg[r] - step * qhq[r]) > 0)) continue;
    group.scale[r] = scale;
    change[r] = -step;
  }
  for (int64_t j = 0; j < size; ++j) {
    for (int64_t r = 0; r < kRows; ++r) group.gradient[j][r] += change[r] * group.coupled[j][r];
  }
}

// The best q of each channel in turn, q + g / (s H_jj).
void ImproveChannels(const OutputError& error, const float* tiles, int64_t first, int64_t size,
                     GroupState& group) {
  alignas(64) float inverse[kRows], change[kRows];
  for (int64_t r = 0; r < kRows; ++r) inverse[r] = 1 / group.scale[r];
  for (int64_t j = 0; j < size; ++j) {
    const float h = 1 / error.diagonal()[static_cast<size_t>(first + j)];
    float* q = group.q[j];
    const float* gradient = group.gradient[j];
    for (int64_t r = 0; r < kRows; ++r) {
      const float best = RoundToInt4(q[r] + gradient[r] * h * inverse[r]);
      change[r] = (q[r] - best) * group.scale[r];
      q[r] = best;
    }
    AddMultiples(change, tiles, size, j, first, 0, size, group.gradient);
  }
}

// One sweep over the groups.
void Descend(DataType dtype, RowBlock& block) {
  const OutputError& error = block.error;
  const int64_t k = block.k, size = error.group_size();
  static thread_local GroupState group;
  for (int64_t first = 0; first < k; first += size) {
    const float* tiles = error.Coupling(first / size);
    LoadGroup(block, first, size, group);
    ImproveScale(tiles, first, size, block.rows, dtype, group);
    ImproveChannels(error, tiles, first, size, group);
    for (int64_t r = 0; r < block.rows; ++r) {
      block.scales[r * (k / size) + first / size] = group.scale[r];
      for (int64_t j = 0; j < size; ++j) {
        block.q[r * k + first + j] = group.q[j][r];
        group.start[j][r] -= group.q[j][r] * group.scale[r];
      }
    }
    AddProduct(group.start, size, tiles, 0, block.rows, k, block.gradient.data());
  }
}

}  // namespace

OutputError::OutputError(std::span<const float> gram, int64_t k, int64_t group_size,
                         std::string_view where, ThreadPool& pool)
    : k_(k), group_size_(group_size), diagonal_(static_cast<size_t>(k)), coupling_(k * k) {
  FPTQ_CHECK(std::ssize(gram) == k * k && k % group_size == 0 && group_size % 32 == 0 &&
             group_size <= kMaxBlock);
  double mean = 0;
  for (int64_t j = 0; j < k; ++j)
    mean += gram[static_cast<size_t>(j * k + j)] / static_cast<double>(k);
  if (!std::isfinite(mean)) {
    throw Error("{}: expected finite sums of products of activations, found {}", where, mean);
  }
  // Of the mean: what calibration did not show must not go unpunished, and calibration text is not
  // the text of use. A site that calibration saw dead is rounded plainly.
  constexpr double kDamping = 0.05;
  const auto damping = static_cast<float>(mean > 0 ? kDamping * mean : 1);
  std::vector<float> damped(gram.begin(), gram.end());
  for (int64_t j = 0; j < k; ++j) {
    float& value = damped[static_cast<size_t>(j * k + j)];
    value += damping;
    diagonal_[static_cast<size_t>(j)] = value;
  }
  for (int64_t group = 0; group < k / group_size; ++group) {
    PackTiles(damped.data() + group * group_size * k, k, group_size,
              coupling_.data() + group * group_size * k);
  }
  order_.resize(static_cast<size_t>(k));
  std::iota(order_.begin(), order_.end(), 0);
  std::ranges::stable_sort(order_, std::ranges::greater{},
                           [&](int32_t j) { return diagonal_[static_cast<size_t>(j)]; });
  Factor(damped, where, pool);
}

void OutputError::Factor(std::span<const float> damped, std::string_view where, ThreadPool& pool) {
  AlignedBuffer<float> r(k_ * k_);
  pool.ParallelFor(k_, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = damped.data() + order_[static_cast<size_t>(i)] * k_;
      for (int64_t j = 0; j < k_; ++j) r[i * k_ + j] = row[order_[static_cast<size_t>(j)]];
    }
  });
  if (!FactorUpper(r.span(), k_, pool)) {
    throw Error("{}: expected sums of products of activations that are positive definite", where);
  }
  std::vector<float> inverse(static_cast<size_t>(k_));
  for (int64_t j = 0; j < k_; ++j) inverse[static_cast<size_t>(j)] = 1 / r[j * k_ + j];
  pool.ParallelFor(k_, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < k_; ++j) r[i * k_ + j] *= inverse[static_cast<size_t>(j)];
    }
  });
  feedback_.Resize(k_ * k_);
  for (int64_t first = 0; first < k_; first += kBlock) {
    PackTiles(r.data() + first * k_, k_, std::min(kBlock, k_ - first),
              feedback_.data() + first * k_);
  }
}

GroupQuantized RoundGptq(const SourceLinear& linear, const OutputError& error, int sweeps,
                         DataType dtype, ThreadPool& pool) {
  const int64_t k = linear.k, groups = k / error.group_size();
  FPTQ_CHECK(k == error.k());
  GroupQuantized result = QuantizeGroups(linear, error.diagonal(), error.group_size(), dtype, pool);
  std::vector<double> errors(static_cast<size_t>(linear.channels));
  std::vector<double> norms(static_cast<size_t>(linear.channels));  // w H w^T
  pool.ParallelEach((linear.channels + kRows - 1) / kRows, [&](int64_t i) {
    const int64_t first = i * kRows;
    RowBlock block(error, linear, first, std::min(kRows, linear.channels - first));
    std::copy_n(result.scales.begin() + first * groups, block.rows * groups, block.scales.data());
    ComputeGradient(block);  // of q = 0
    std::ranges::copy(Errors(block), norms.begin() + first);

    RoundPlainly(block);
    ComputeGradient(block);
    const std::vector<double> plain = Errors(block);
    RoundInOrder(block);
    ComputeGradient(block);
    const std::vector<double> in_order = Errors(block);
    bool replaced = false;
    for (int64_t r = 0; r < block.rows; ++r) {
      if (in_order[static_cast<size_t>(r)] <= plain[static_cast<size_t>(r)]) continue;
      replaced = true;
      for (int64_t j = 0; j < k; ++j) {
        block.q[r * k + j] = RoundToInt4(block.w[r * k + j] / block.Scale(r, j));
      }
    }
    if (replaced) ComputeGradient(block);
    for (int sweep = 0; sweep < sweeps; ++sweep) Descend(dtype, block);
    std::ranges::copy(Errors(block), errors.begin() + first);
    std::copy_n(block.scales.data(), block.rows * groups, result.scales.begin() + first * groups);
    std::copy_n(block.q.data(), block.rows * k, result.q.begin() + first * k);
  });
  const double error_sum = std::accumulate(errors.begin(), errors.end(), 0.0);
  const double norm_sum = std::accumulate(norms.begin(), norms.end(), 0.0);
  result.relative_error = norm_sum > 0 ? std::sqrt(std::max(error_sum, 0.0) / norm_sum) : 0;
  return result;
}

}  // namespace fptq
