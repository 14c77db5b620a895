#include "model/weights/tile.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "io/packed_linear.h"
#include "kernels/dispatch.h"

namespace fptq {
namespace {

// Calls body(linear, row, channel) for all rows of linears that stand one below the other in a
// matrix, in parallel: the 16 channels of a tile on one thread, as PackRow demands.
template <typename Body>
void ForEachChannel(std::span<const int64_t> linear_channels, ThreadPool& pool, Body body) {
  int64_t channels = 0;
  for (const int64_t count : linear_channels) channels += count;
  pool.ParallelFor((channels + kTileChannels - 1) / kTileChannels, [&](int64_t begin, int64_t end) {
    int64_t first = 0;  // the linear's first channel
    for (size_t linear = 0; linear < linear_channels.size(); ++linear) {
      const int64_t last = first + linear_channels[linear];
      for (int64_t channel = std::max(begin * kTileChannels, first);
           channel < std::min(end * kTileChannels, last); ++channel) {
        body(linear, channel - first, channel);
      }
      first = last;
    }
  });
}

// A quantized linear, whose rows may be stored in another order (SourceLinear).
struct StoredLinear {
  PackedLinear packed;
  QkvGroups groups = {};
  bool has_bias = false;

  int64_t Row(int64_t channel) const { return groups.Row(packed.channels, channel); }
  // Both run as one matrix.
  bool Alike(const StoredLinear& other) const {
    return packed.quantization == other.packed.quantization &&
           packed.input_scale == other.packed.input_scale &&
           packed.input_order == other.packed.input_order;
  }
};

// The row's integers in `matrix`, or the floats that they stand for.
void PackChannel(QuantizedMatrix& matrix, int64_t channel, const PackedLinear& from, int64_t row) {
  const PackedRow packed(from, row);
  PackRow(matrix, channel, packed.q, packed.scales, packed.zeros);
}

void PackChannel(FloatMatrix& matrix, int64_t channel, const PackedLinear& from, int64_t row) {
  thread_local std::vector<float> values;
  values.resize(static_cast<size_t>(from.k));
  from.DequantizeRow(row, values);
  PackRow(matrix, channel, values);
}

// Groups of other sizes and zero points of 8 bits have no kernel: they become floats.
bool StaysIntegers(const PackedLinear& linear) {
  const LinearQuantization& how = linear.quantization;
  return how.activations != ActivationQuantization::kNone ||
         (linear.group_size % kMinGroupSize == 0 && linear.group_size <= kMaxGroupSize &&
          (how.symmetric || how.weight_bits == 4));
}

// Linears that are all alike and have the same input.
Linear PackedLinears(const ModelSource& source, std::span<const StoredLinear> linears,
                     FloatForm form, Arena& memory, ThreadPool& pool) {
  std::vector<int64_t> channels;
  int64_t all_channels = 0;
  for (const StoredLinear& linear : linears) {
    channels.push_back(linear.packed.channels);
    all_channels += linear.packed.channels;
  }
  const PackedLinear& first = linears[0].packed;
  Linear result;
  result.act.static_scale = first.input_scale;
  const auto pack = [&](auto matrix) {
    ForEachChannel(channels, pool, [&](size_t linear, int64_t row, int64_t channel) {
      const StoredLinear& from = linears[linear];
      PackChannel(matrix, channel, from.packed, from.Row(row));
    });
    result.weights = std::move(matrix);
  };
  if (StaysIntegers(first)) {
    pack(MakeQuantizedMatrix(first.quantization.weight_bits, all_channels, first.k,
                             first.group_size, &memory, first.quantization.symmetric));
    result.input_order = first.input_order;
    result.act.is_float = first.quantization.activations == ActivationQuantization::kNone &&
                          form == FloatForm::kFloat32;
  } else {
    pack(MakeFloatMatrix(all_channels, first.k));
  }
  int64_t begin = 0;
  for (const StoredLinear& linear : linears) {
    const int64_t count = linear.packed.channels;
    if (linear.has_bias) {
      if (result.bias.size() == 0) result.bias.Resize(all_channels);
      const std::vector<float> bias = source.ReadVector(linear.packed.module + ".bias");
      for (int64_t row = 0; row < count; ++row) {
        result.bias[begin + row] = bias[static_cast<size_t>(linear.Row(row))];
      }
    }
    begin += count;
  }
  return result;
}

// Rows of integers with one scale, and an int8 input with a scale per token.
bool IsInt8ByRow(const PackedLinear& linear) {
  const LinearQuantization& how = linear.quantization;
  return how.weight_bits == 8 && how.symmetric && !how.per_tensor &&
         how.group_size == LinearQuantization::kWholeRow &&
         how.activations == ActivationQuantization::kDynamicToken;
}

// The linears of a site one below the other in a matrix that `make(channels, k)` makes and
// `pack_row(matrix, channel, row)` fills.
template <typename Make, typename PackRowFunction>
Linear StackLinears(std::span<const SourceLinear> linears, ThreadPool& pool, Make make,
                    PackRowFunction pack_row) {
  std::vector<int64_t> channels;
  int64_t all_channels = 0;
  bool has_bias = false;
  for (const SourceLinear& linear : linears) {
    channels.push_back(linear.channels);
    all_channels += linear.channels;
    has_bias |= !linear.bias.empty();
  }
  const int64_t k = linears[0].k;
  auto matrix = make(all_channels, k);
  AlignedBuffer<float> bias(has_bias ? all_channels : 0);
  ForEachChannel(channels, pool, [&](size_t linear, int64_t row, int64_t channel) {
    const SourceLinear& from = linears[linear];
    const int64_t stored = from.Row(row);
    pack_row(matrix, channel,
             from.weight.span().subspan(static_cast<size_t>(stored * k), static_cast<size_t>(k)));
    if (!from.bias.empty()) bias[channel] = from.bias[static_cast<size_t>(stored)];
  });
  return {.weights = std::move(matrix), .bias = std::move(bias), .act = {}};
}

}  // namespace

Linear FloatLinear(std::span<const SourceLinear> linears, ThreadPool& pool) {
  return StackLinears(linears, pool, MakeFloatMatrix,
                      [](FloatMatrix& matrix, int64_t channel, std::span<const float> row) {
                        PackRow(matrix, channel, row);
                      });
}

Linear Int8Linear(std::span<const SourceLinear> linears, Arena& memory, ThreadPool& pool) {
  if (!HasGroups(linears[0].k)) return FloatLinear(linears, pool);
  return StackLinears(
      linears, pool,
      [&](int64_t channels, int64_t k) {
        return MakeQuantizedMatrix(/*bits=*/8, channels, k, /*group_size=*/k, &memory);
      },
      PackRowInt8);
}

Linear QuantizedLinears(const ModelSource& source, std::span<const LayerLinear> linears,
                        FloatForm form, Arena& memory, ThreadPool& pool) {
  const ModelConfig& config = source.config();
  Linear::Parts parts;
  std::vector<StoredLinear> quantized;  // of the part that is being collected
  std::vector<SourceLinear> floats;
  const auto finish_part = [&] {
    if (!quantized.empty()) parts.push_back(PackedLinears(source, quantized, form, memory, pool));
    if (!floats.empty()) parts.push_back(FloatLinear(floats, pool));
    quantized.clear();
    floats.clear();
  };
  for (const LayerLinear& from : linears) {
    const std::string name = source.Name(from);
    const auto how = source.quantization()->Find(name);
    if (!how) {
      if (!quantized.empty()) finish_part();
      floats.push_back(ReadLinear(source, from));
      continue;
    }
    StoredLinear linear = {.packed = GetPackedLinear(source.checkpoint(), name, *how,
                                                     from.channels(config), from.k(config)),
                           .groups = QkvGroupsOf(*from.spec, config),
                           .has_bias = HasBias(*from.spec, config)};
    if (!floats.empty() || (!quantized.empty() && !quantized[0].Alike(linear))) finish_part();
    quantized.push_back(std::move(linear));
  }
  finish_part();
  if (parts.size() == 1) return std::move(parts[0]);
  return {.weights = std::move(parts), .bias = {}, .act = {}};
}

Linear HeadLinear(const ModelSource& source, FloatForm form, Arena& memory, ThreadPool& pool) {
  const bool integer = source.quantized() || form == FloatForm::kInt8;
  const int64_t channels = source.config().vocab;
  const int64_t k = source.config().hidden;
  if (const auto& packed = source.packed_head(); packed && !IsInt8ByRow(*packed)) {
    const StoredLinear stored = {.packed = *packed};
    return PackedLinears(source, {&stored, 1}, form, memory, pool);
  }
  const auto pack = [&](auto matrix, auto pack_row) {
    ForEachChannel({&channels, 1}, pool, [&](size_t, int64_t row, int64_t channel) {
      thread_local std::vector<float> values;
      values.resize(static_cast<size_t>(k));
      source.ReadHeadRow(row, values);  // finite: CheckOuterTensors
      pack_row(matrix, channel, std::span(values));
    });
    return Linear{.weights = std::move(matrix), .bias = {}, .act = {}};
  };
  if (!integer || !HasGroups(k)) {
    return pack(MakeFloatMatrix(channels, k),
                [](FloatMatrix& matrix, int64_t channel, std::span<const float> row) {
                  PackRow(matrix, channel, row);
                });
  }
  Linear head = pack(MakeQuantizedMatrix(/*bits=*/8, channels, k, /*group_size=*/k, &memory),
                     [](QuantizedMatrix& matrix, int64_t channel, std::span<float> row) {
                       Kernels().rotate({.x = row.data(), .rows = 1, .n = std::ssize(row)});
                       PackRowInt8(matrix, channel, row);
                     });
  head.act.rotated = true;
  return head;
}

}  // namespace fptq
