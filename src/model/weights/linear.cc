#include "model/weights/linear.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/dispatch.h"

namespace fptq {
namespace {

// Kernels take two tiles at a time where they can.
constexpr int64_t kTilesTogether = 2;

// How many of the values lie more than half a step beyond the int8 range.
int64_t CountSaturated(std::span<const float> x, float scale) {
  const float high = 127.5f * scale, low = -128.5f * scale;
  int64_t count = 0;
  for (const float value : x) count += value > high || value < low;
  return count;
}

void Count(SiteSaturation& saturation, int64_t values, int64_t saturated) {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  saturation.rows.fetch_add(1, kRelaxed);
  saturation.values.fetch_add(values, kRelaxed);
  saturation.saturated_rows.fetch_add(saturated > 0, kRelaxed);
  saturation.saturated_values.fetch_add(saturated, kRelaxed);
}

template <typename Matrix>
int64_t ChannelsOf(const Matrix& matrix) {
  return matrix.channels;
}
int64_t ChannelsOf(const Linear::Parts& parts) {
  int64_t channels = 0;
  for (const Linear& part : parts) channels += part.channels();
  return channels;
}

template <typename Matrix>
int64_t InputsOf(const Matrix& matrix) {
  return matrix.k;
}
int64_t InputsOf(const Linear::Parts& parts) { return parts.front().k(); }

template <typename Matrix>
int64_t BytesOf(const Matrix& matrix) {
  return matrix.Bytes();
}
int64_t BytesOf(const Linear::Parts& parts) {
  int64_t bytes = 0;
  for (const Linear& part : parts) bytes += part.Bytes();
  return bytes;
}

}  // namespace

int64_t Linear::channels() const {
  return std::visit([](const auto& w) { return ChannelsOf(w); }, weights);
}

int64_t Linear::k() const {
  return std::visit([](const auto& w) { return InputsOf(w); }, weights);
}

int64_t Linear::Bytes() const {
  return std::visit([](const auto& w) { return BytesOf(w); }, weights) + 4 * bias.size();
}

LinearInput::LinearInput(int64_t max_rows, int64_t max_k)
    : f32_(CheckedMultiply(max_rows, max_k, "activations")),
      q_(max_rows * max_k),
      scales_(max_rows * (max_k / kMinGroupSize + 1)),
      group_sums_(scales_.size()) {}

void LinearInput::Set(const Linear& linear, int64_t row, const float* x) {
  if (linear.TakesInt8()) {
    Quantize(linear, row, x);
  } else {
    std::copy_n(x, linear.k(), f32_.data() + row * linear.k());
  }
}

void LinearInput::Quantize(const Linear& linear, int64_t row, const float* x) {
  const auto& matrix = std::get<QuantizedMatrix>(linear.weights);
  thread_local std::vector<float> ordered;
  if (!linear.input_order.empty()) {
    ordered.resize(linear.input_order.size());
    for (size_t i = 0; i < ordered.size(); ++i) ordered[i] = x[linear.input_order[i]];
    x = ordered.data();
  }
  float static_scale = linear.act.static_scale;
  if (static_scale > 0 && (guard || saturation != nullptr)) {
    const int64_t saturated = CountSaturated({x, static_cast<size_t>(matrix.k)}, static_scale);
    if (saturation != nullptr) Count(*saturation, matrix.k, saturated);
    if (guard && saturated > 0) static_scale = 0;
  }
  const int64_t groups = matrix.k / matrix.group_size;
  Kernels().quantize_row({.x = x,
                          .n = matrix.k,
                          .group_size = matrix.group_size,
                          .static_scale = static_scale,
                          .one_scale = token_scales,
                          .q = q_.data() + row * matrix.k,
                          .scales = scales_.data() + row * groups,
                          .group_sums = group_sums_.data() + row * groups});
}

std::span<const float> LinearInput::floats(int64_t rows, int64_t k) const {
  FPTQ_CHECK(rows * k <= f32_.size());
  return f32_.span().first(static_cast<size_t>(rows * k));
}

void LinearInput::ApplyMatrix(const Linear& linear, int64_t rows, ThreadPool& pool, float* out,
                              int64_t out_stride, bool accumulate) const {
  if (linear.act.is_float) {
    return ApplyExpanded(linear, rows, pool, out, out_stride, accumulate);
  }
  const KernelTable& kernels = Kernels();
  const float* bias = linear.bias.size() > 0 ? linear.bias.data() : nullptr;
  if (const auto* matrix = std::get_if<QuantizedMatrix>(&linear.weights)) {
    FPTQ_CHECK(rows * matrix->k <= q_.size());
    const auto gemm = matrix->bits == 4 ? kernels.gemm_w4 : kernels.gemm_w8;
    pool.ParallelFor(matrix->channel_tiles(), kTilesTogether, [&](int64_t begin, int64_t end) {
      gemm({.activations = q_.data(),
            .activation_scales = scales_.data(),
            .group_sums = group_sums_.data(),
            .rows = rows,
            .k = matrix->k,
            .group_size = matrix->group_size,
            .weights = matrix->tiles.data(),
            .weight_scales = matrix->scales.data(),
            .zero_points = matrix->zero_points.size() > 0 ? matrix->zero_points.data() : nullptr,
            .full_range = matrix->full_range,
            .bias = bias,
            .channels = matrix->channels,
            .tile_begin = begin,
            .tile_end = end,
            .out = out,
            .out_stride = out_stride,
            .accumulate = accumulate});
    });
    return;
  }
  const auto& matrix = std::get<FloatMatrix>(linear.weights);
  FPTQ_CHECK(rows * matrix.k <= f32_.size());
  pool.ParallelFor(matrix.channel_tiles(), kTilesTogether, [&](int64_t begin, int64_t end) {
    kernels.gemm_f32({.activations = f32_.data(),
                      .rows = rows,
                      .k = matrix.k,
                      .weights = matrix.tiles.data(),
                      .bias = bias,
                      .channels = matrix.channels,
                      .tile_begin = begin,
                      .tile_end = end,
                      .out = out,
                      .out_stride = out_stride,
                      .accumulate = accumulate});
  });
}

// Some tiles at a time become floats, which stay in the L2 cache for all rows.
void LinearInput::ApplyExpanded(const Linear& linear, int64_t rows, ThreadPool& pool, float* out,
                                int64_t out_stride, bool accumulate) const {
  constexpr int64_t kFloats = 96 << 10;
  const auto& matrix = std::get<QuantizedMatrix>(linear.weights);
  const KernelTable& kernels = Kernels();
  const auto expand = matrix.bits == 4 ? kernels.expand_w4 : kernels.expand_w8;
  const int64_t k = matrix.k, groups = k / matrix.group_size, tile_floats = k * kTileChannels;
  const bool has_zeros = matrix.zero_points.size() > 0;
  const int64_t together = std::clamp(kFloats / tile_floats, int64_t{1}, kTilesTogether);
  FPTQ_CHECK(rows * k <= f32_.size());
  pool.ParallelFor(matrix.channel_tiles(), together, [&](int64_t begin, int64_t end) {
    thread_local std::vector<float> floats;
    floats.resize(static_cast<size_t>(together * tile_floats));
    for (int64_t first = begin; first < end; first += together) {
      const int64_t tiles = std::min(together, end - first), channel = first * kTileChannels;
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t tile = first + i, scale = tile * groups * kTileChannels;
        expand({.weights = matrix.tiles.data() + tile * tile_floats * matrix.bits / 8,
                .scales = matrix.scales.data() + scale,
                .zero_points = has_zeros ? matrix.zero_points.data() + scale : nullptr,
                .k = k,
                .group_size = matrix.group_size,
                .order = linear.input_order.empty() ? nullptr : linear.input_order.data(),
                .out = floats.data() + i * tile_floats});
      }
      kernels.gemm_f32({.activations = f32_.data(),
                        .rows = rows,
                        .k = k,
                        .weights = floats.data(),
                        .bias = linear.bias.size() > 0 ? linear.bias.data() + channel : nullptr,
                        .channels = matrix.channels - channel,
                        .tile_begin = 0,
                        .tile_end = tiles,
                        .out = out + channel,
                        .out_stride = out_stride,
                        .accumulate = accumulate});
    }
  });
}

void Apply(const Linear& linear, LinearInput& input, int64_t rows, ThreadPool& pool, float* out,
           bool accumulate) {
  const int64_t channels = linear.channels();
  const auto* parts = std::get_if<Linear::Parts>(&linear.weights);
  if (parts == nullptr) return input.ApplyMatrix(linear, rows, pool, out, channels, accumulate);
  for (const Linear& part : *parts) {
    if (part.TakesInt8()) {
      pool.ParallelFor(rows, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          input.Quantize(part, row, input.f32_.data() + row * part.k());
        }
      });
    }
    input.ApplyMatrix(part, rows, pool, out, channels, accumulate);
    out += part.channels();
  }
}

}  // namespace fptq
