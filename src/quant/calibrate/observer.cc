#include "quant/calibrate/observer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "kernels/weights.h"

namespace fptq {

double SiteStatistics::Range() const { return absmax.empty() ? 0 : std::ranges::max(absmax); }

std::vector<float> SiteStatistics::MeanSquares() const {
  std::vector<float> means(sum_squares.size());
  constexpr double kLargest = std::numeric_limits<float>::max();
  for (size_t j = 0; j < means.size() && rows > 0; ++j) {
    means[j] = static_cast<float>(std::min(sum_squares[j] / static_cast<double>(rows), kLargest));
  }
  return means;
}

SiteStatistics SiteStatistics::Copy() const {
  const auto copy = [](const AlignedBuffer<float>& from) {
    AlignedBuffer<float> to(from.size());
    std::copy_n(from.data(), from.size(), to.data());
    return to;
  };
  return {.rows = rows,
          .absmax = absmax,
          .sum_squares = sum_squares,
          .sample_rows = sample_rows,
          .sample = copy(sample),
          .gram = copy(gram)};
}

void SiteStatistics::Forget() {
  *this = SiteStatistics{.rows = 1,
                         .absmax = std::vector<float>(absmax.size()),
                         .sum_squares = std::vector<double>(sum_squares.size(), 1.0),
                         .sample = {},
                         .gram = {}};
}

void SiteStatistics::DivideChannels(std::span<const float> scales, ThreadPool& pool) {
  FPTQ_CHECK(std::ssize(scales) == k());
  for (size_t j = 0; j < scales.size(); ++j) {
    absmax[j] /= scales[j];
    sum_squares[j] /= double{scales[j]} * double{scales[j]};
  }
  const int64_t n = k();
  const auto divide_row = [&](float* row) {
    for (int64_t j = 0; j < n; ++j) row[j] /= scales.data()[j];
  };
  for (int64_t r = 0; r < sample_rows; ++r) divide_row(sample.data() + r * n);
  pool.ParallelFor(gram.size() / n, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = gram.data() + i * n;
      divide_row(row);
      for (int64_t j = 0; j < n; ++j) row[j] /= scales.data()[i];
    }
  });
}

namespace {

// Fills what is above the diagonal of a symmetric matrix, [n, n], in squares that fit the cache. n
// is a multiple of 32.
void MirrorBelow(std::span<float> matrix, int64_t n, ThreadPool& pool) {
  constexpr int64_t kSquare = 32;
  pool.ParallelEach(n / kSquare, [&](int64_t square) {
    const int64_t first = square * kSquare;
    for (int64_t column = first; column < n; column += kSquare) {
      for (int64_t i = first; i < first + kSquare; ++i) {
        for (int64_t j = std::max(column, i + 1); j < column + kSquare; ++j) {
          matrix.data()[i * n + j] = matrix.data()[j * n + i];
        }
      }
    }
  });
}

}  // namespace

LayerObserver::LayerObserver(const ModelConfig& config, std::vector<SiteId> sites,
                             const ObserverOptions& options, ThreadPool& pool)
    : sites_(std::move(sites)), options_(options), pool_(pool) {
  options_.sample_rows = std::min(options_.sample_rows, options_.rows);
  for (const SiteId& site : sites_) {
    const int64_t k = SiteInputs(config, site);
    SiteStatistics& statistics = statistics_.emplace_back();
    statistics.absmax.resize(static_cast<size_t>(k));
    statistics.sum_squares.resize(static_cast<size_t>(k));
    statistics.sample.Resize(options_.sample_rows * k);
    if (HasGram(statistics)) statistics.gram.Resize(CheckedMultiply(k, k, "sums of products"));
  }
}

void LayerObserver::Observe(int64_t, const SiteId& site, std::span<const float> rows,
                            int64_t n_rows) {
  const auto found = std::ranges::find(sites_, site);
  FPTQ_CHECK(found != sites_.end());
  SiteStatistics& statistics = statistics_[static_cast<size_t>(found - sites_.begin())];
  FPTQ_CHECK(std::ssize(rows) == n_rows * statistics.k());
  AddChannels(statistics, rows, n_rows);
  AddSample(statistics, rows, n_rows);
  if (HasGram(statistics)) AddGram(statistics, rows, n_rows);
  statistics.rows += n_rows;
}

void LayerObserver::AddChannels(SiteStatistics& site, std::span<const float> rows, int64_t n_rows) {
  const int64_t k = site.k();
  pool_.ParallelFor(k, [&](int64_t begin, int64_t end) {
    float* absmax = site.absmax.data();
    double* sum_squares = site.sum_squares.data();
    for (int64_t r = 0; r < n_rows; ++r) {
      const float* row = rows.data() + r * k;
      for (int64_t j = begin; j < end; ++j) {
        absmax[j] = std::max(absmax[j], std::abs(row[j]));
        sum_squares[j] += double{row[j]} * double{row[j]};
      }
    }
  });
}

// Row i of all belongs to the sample where floor(i * sample_rows / rows) is new.
void LayerObserver::AddSample(SiteStatistics& site, std::span<const float> rows, int64_t n_rows) {
  const int64_t k = site.k();
  for (int64_t r = 0; r < n_rows && site.sample_rows < options_.sample_rows; ++r) {
    if ((site.rows + r) * options_.sample_rows / options_.rows < site.sample_rows) continue;
    std::copy_n(rows.data() + r * k, k, site.sample.data() + site.sample_rows * k);
    ++site.sample_rows;
  }
}

bool LayerObserver::HasGram(const SiteStatistics& site) const {
  return options_.gram && HasGroups(site.k());
}

// X^T X by the float GEMM: its activations are X^T, its weights too, its inputs the rows. Some
// tiles of columns at a time, from the diagonal down; the rest is mirrored in the end. The more
// tiles the less often X^T is read, but the more is computed above the diagonal.
void LayerObserver::AddGram(SiteStatistics& site, std::span<const float> rows, int64_t n_rows) {
  const int64_t k = site.k();
  FPTQ_CHECK(k % kTileChannels == 0);
  if (transposed_.size() < k * n_rows) {
    transposed_.Resize(k * n_rows);
    tiles_.Resize(k * n_rows);
  }
  const int64_t n_tiles = k / kTileChannels;
  pool_.ParallelFor(n_tiles, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      for (int64_t r = 0; r < n_rows; ++r) {
        const float* from = rows.data() + r * k + tile * kTileChannels;
        std::copy_n(from, kTileChannels, tiles_.data() + (tile * n_rows + r) * kTileChannels);
        for (int64_t c = 0; c < kTileChannels; ++c) {
          transposed_[(tile * kTileChannels + c) * n_rows + r] = from[c];
        }
      }
    }
  });
  const int64_t together = std::clamp<int64_t>(n_tiles / 32, 2, 8);
  pool_.ParallelEach((n_tiles + together - 1) / together, [&](int64_t i) {
    const int64_t tile = i * together;
    const int64_t first = tile * kTileChannels;
    Kernels().gemm_f32({.activations = transposed_.data() + first * n_rows,
                        .rows = k - first,
                        .k = n_rows,
                        .weights = tiles_.data(),
                        .bias = nullptr,
                        .channels = k,
                        .tile_begin = tile,
                        .tile_end = std::min(tile + together, n_tiles),
                        .out = site.gram.data() + first * k,
                        .out_stride = k,
                        .accumulate = true});
  });
}

LayerStatistics LayerObserver::Finish(int64_t layer) {
  for (size_t i = 0; i < sites_.size(); ++i) {
    SiteStatistics& statistics = statistics_[i];
    // NaN and infinity stay in a sum; squares of floats do not overflow a double.
    for (const double sum : statistics.sum_squares) {
      if (!std::isfinite(sum)) {
        throw Error("layer {}, {}: expected finite activations in calibration, found {}", layer,
                    SiteName(sites_[i]), sum);
      }
    }
    if (HasGram(statistics)) MirrorBelow(statistics.gram.span(), statistics.k(), pool_);
  }
  return std::move(statistics_);
}

}  // namespace fptq
