// The kernels: everything that is worth vector instructions, behind one table of function pointers
// an ISA.
//
// The math is specified, so every table gives the same bits (kernels_test.cc compares them all with
// scalar.cc):
//  - integer dot products are exact in int32;
//  - float sums over output channels have one accumulator a channel and go in the order of k or of
//  groups, with fma;
//  - float sums over a row (sum of squares, softmax) run in 16 lanes, element i in lane i % 16, and
//  are then added by
//    the fixed tree of row_ops.inc: lanes i and i+8, then i+4, i+2, i+1;
//  - exp is one polynomial (row_ops.inc); division and square root are IEEE; rounding is half to
//  even.
// Each result depends on its own row alone: not on how many rows a call has, nor on who computes
// the others.
//
// This header is all that an ISA file includes beside its intrinsics, row_ops.inc and <cstdint>,
// <cstddef>.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fptq {

// Output channels that lie side by side in a weight tile; weights are padded to a multiple of it.
inline constexpr int64_t kTileChannels = 16;
// k and group_size are multiples of it.
inline constexpr int64_t kMinGroupSize = 32;
// The longest group whose products of two int8 sum up exactly in int32, and whose activations in
// float.
inline constexpr int64_t kMaxGroupSize = (int64_t{1} << 17) - kMinGroupSize;
static_assert(kMaxGroupSize * 128 * 128 <= INT32_MAX && kMaxGroupSize * 128 <= 1 << 24);
// Positions in a block of the KV cache, which are those of a page; blocks are aligned to absolute
// positions.
inline constexpr int64_t kKvBlock = 64;

// Positions in a section of the KV cache, likewise aligned: whole blocks.
inline constexpr int64_t kKvSection = 1024;

// --- Linears -----------------------------------------------------------------------------------
// Weight layouts, the same for every ISA (weights.h packs them):
//  w4   [tile][k/8][16 channels][4]: byte j of channel c in vector v holds k = 8v + j in its low
//  nibble and
//       k = 8v + 4 + j in its high nibble, as q + 8 (q in -8..7).
//  w8   [tile][k/4][16 channels][4]: byte j of channel c in vector v holds k = 4v + j, as q + 128
//  (q in -128..127). f32  [tile][k][16 channels]. scales [tile][k / group_size][16 channels], f32.
//  Channels beyond N have scale 0 and q = 0.
// k and group_size are multiples of 32, group_size divides k and is at most kMaxGroupSize.

// out[r][n] (+)= sum_g activation_scale[r][g] * weight_scale[n][g] *
// sum_{k in g} a[r][k] * (q[n][k] - zero_point[n][g]) (+ bias[n]) computed as: acc =
// fma(float(int32 sum of group g) * activation_scale, weight_scale, acc) for g in order, from acc =
// 0; then acc + bias[n] if there is a bias; then out + that if `accumulate`.
struct QuantizedGemmArgs {
  const int8_t* activations;       // [rows, k]
  const float* activation_scales;  // [rows, k / group_size]
  const int32_t*
      group_sums;  // [rows, k / group_size]: sums of the activations, for the weights' offset
  int64_t rows;
  int64_t k;
  int64_t group_size;
  const uint8_t* weights;        // w4 or w8 layout, from tile 0
  const float* weight_scales;    // [tiles, k / group_size, 16]
  const int8_t* zero_points;     // w4: [tiles, k / group_size, 16], -8..8; null: 0. w8: not read
  bool full_range;               // w8: some q is -128, which some kernels pay for
  const float* bias;             // [channels] or null
  int64_t channels;              // N; nothing is written beyond
  int64_t tile_begin, tile_end;  // the tiles to compute
  float* out;                    // [rows, out_stride], aliases no input
  int64_t out_stride;
  bool accumulate;  // add to out (the residual) rather than set it
};

// out[r][n] (+)= sum_k a[r][k] * w[n][k] (+ bias[n]): acc = fma(a, w, acc) for k in order, from 0;
// then as above.
struct FloatGemmArgs {
  const float* activations;  // [rows, k], any k
  int64_t rows;
  int64_t k;
  const float* weights;  // f32 layout, from tile 0
  const float* bias;     // [channels] or null
  int64_t channels;
  int64_t tile_begin, tile_end;
  float* out;  // [rows, out_stride]
  int64_t out_stride;
  bool accumulate;
};

// A tile of integer weights as a tile of the f32 layout, for activations that are float:
// out[order[k]][channel] = scale * float(q - zero_point).
struct ExpandTileArgs {
  const uint8_t* weights;     // w4 or w8 layout
  const float* scales;        // [k / group_size, 16]
  const int8_t* zero_points;  // [k / group_size, 16]; null: 0
  int64_t k;
  int64_t group_size;
  const int32_t* order;  // [k], each of 0..k-1 once; null: as they are
  float* out;            // [k, 16]
};

// --- Rows --------------------------------------------------------------------------------------
// One row at a time, so that a caller can chain them on a row that is still in L1. `n` is any
// positive number.

// out[i] = x[i] * (1 / sqrt(sum(x^2) / n + epsilon)) * weight[i], in this order.
struct RmsNormArgs {
  const float* x;       // [n]
  const float* weight;  // [n]
  int64_t n;
  float epsilon;
  float* out;  // [n], may be x
};

// out[i] = (x[i] - mean) * (1 / sqrt(sum((x - mean)^2) / n + epsilon)) * weight[i] + bias[i], with
// mean = sum(x) / n, in this order, the last product and sum by fma.
struct LayerNormArgs {
  const float* x;       // [n]
  const float* weight;  // [n]
  const float* bias;    // [n]
  int64_t n;
  float epsilon;
  float* out;  // [n], may be x
};

// out[i] = f(x[i]), or f(x[i]) * up[i] where there is an `up` (a gated MLP).
//  silu       x / (1 + exp(-x))
//  gelu_tanh  x / (1 + exp(-2u)), u = sqrt(2 / pi) * x * (1 + 0.044715 x^2): this is
//             x (1 + tanh u) / 2
//  gelu       x * (1 + erf(x / sqrt(2))) / 2, the normal distribution by a polynomial (row_ops.inc)
//  relu       max(x, 0)
struct ActivationArgs {
  const float* x;   // [n]
  const float* up;  // [n] or null
  int64_t n;
  float* out;  // [n], may be x or up
};

// x[i] = cap * tanh(x[i] / cap) in place; tanh(y) = (1 - e) / (1 + e) with e = exp(-2 |y|), and the
// sign of y. `cap` is positive.
struct SoftcapArgs {
  float* x;  // [n]
  int64_t n;
  float cap;
};

// q[i] = clamp(round_half_even(x[i] / scale), -128, 127). Dynamic (static_scale == 0): scale =
// max|x| / 127.5, and 1 for zeros, of each group, or of the row if it has `one_scale`. These are
// the definitions of compressed-tensors. Where a group has NaN or infinity, its scale is NaN, and
// so is all that comes of the row.
struct QuantizeRowArgs {
  const float* x;       // [n]
  int64_t n;            // a multiple of group_size
  int64_t group_size;   // a multiple of 32, at most kMaxGroupSize
  float static_scale;   // 0: dynamic
  bool one_scale;       // dynamic: per token, rather than per token and group
  int8_t* q;            // [n]
  float* scales;        // [n / group_size]: the scales used
  int32_t* group_sums;  // [n / group_size]
};

// How 4-bit integers fit a group of weights, for each of some scales: with
// q[i] = clamp(round_half_even(w[i] * inverse_scale), lowest, lowest + 15), wq = sum dw[i] q[i] and
// qq = sum (d[i] q[i]) q[i].
struct FitInt4Args {
  const float* w;               // [n]
  const float* d;               // [n]: the weights of squared errors
  const float* dw;              // [n]: d[i] w[i]
  int64_t n;                    // a multiple of 16
  const float* inverse_scales;  // [count], |w[i] * inverse_scale| finite
  const float* lowest;          // [count], integers: -8 - zero point
  int64_t count;
  float* wq;  // [count]
  float* qq;  // [count]
};

// Rotates `heads` heads in place, halves convention (Hugging Face): for i < rotary/2, with c =
// cos[i], s = sin[i]: (x[i], x[i + rotary/2]) = (x[i] * c - x[i + rotary/2] * s, x[i + rotary/2] *
// c + x[i] * s), products and then the sum rounded.
struct RopeArgs {
  float* x;  // [heads, head_dim]
  int64_t heads;
  int64_t head_dim;
  int64_t rotary;    // even, <= head_dim
  const float* cos;  // [rotary / 2]
  const float* sin;  // [rotary / 2]
};

// x H in place, row by row: H is block-diagonal of normalized Walsh-Hadamard matrices, as large as
// the largest power of two that divides n. It spreads outlying channels, so that 8 bits serve a row
// better. H is symmetric and its own inverse: (x H) . (w H) = x . w. First x[i] * (1 /
// sqrt(block)), then sums and differences of elements that lie 1, 2, 4, ... apart.
struct RotateArgs {
  float* x;  // [rows, n]
  int64_t rows;
  int64_t n;
};

// The largest of the numbers; NaN if one of them is.
struct LargestArgs {
  const float* x;  // [n]
  int64_t n;
};

// out[i] = exp((x[i] - offset) * factor), or 0 where the argument is not above kMinExp
// (row_ops.inc); it must not be above kMaxExp. The sum of each block is one over a row.
struct ExponentialsArgs {
  const float* x;  // [n]
  int64_t n;
  float offset;
  float factor;
  float* out;         // [n]
  float* block_sums;  // [ceil(n / kSumBlock)]
};
inline constexpr int64_t kSumBlock = 256;

// --- KV cache and attention --------------------------------------------------------------------
// The cache of one layer and KV head, in pages, and the block table of one sequence: its block b,
// positions b * kKvBlock to b * kKvBlock + kKvBlock - 1, is page pages[b]. `dim` is the head_dim
// rounded up to a multiple of 16 (the rest is zero).
//  i8:  keys   [page][kKvBlock/16][dim/4][16 positions][4], less their KeyOffsets, as k
//       + 128
//       values [page][dim/16][kKvBlock/4][16 dims][4 positions], as v
//       scales [page][kKvBlock], f32: x = q * scale, with scale = max|x| / 127 (1 for zeros, NaN
//       where x has NaN or infinity), q clamped to -127..127
//  f32: keys   [page][kKvBlock/16][dim][16 positions]
//       values [page][kKvBlock][dim]
// A kernel reads the table from the block of the first position that it needs to that of the last.
struct KvI8 {
  uint8_t* keys;
  int8_t* values;
  float* key_scales;
  float* value_scales;
  const int32_t* pages;
};
struct KvF32 {
  float* keys;
  float* values;
  const int32_t* pages;
};

// What the keys of a section have in common, one vector a section of the cache; null: nothing. An
// int8 cache holds keys less it, and attention adds its product with a query to all scores of the
// section: softmax(q . k) does not change, and the 8 bits are left for what differs.
struct KeyOffsets {
  const float* data = nullptr;  // [sections, stride], of each the first head_dim
  int64_t sections = 0;         // those beyond have none
  int64_t stride = 0;

  const float* At(int64_t section) const {
    return section < sections ? data + section * stride : nullptr;
  }
};

template <typename Kv>
struct AppendKvArgs {
  Kv kv;
  int64_t position;
  int64_t head_dim;
  const float* key;             // [head_dim]
  const float* value;           // [head_dim]
  KeyOffsets key_offsets = {};  // i8 alone
};

// Causal attention of consecutive positions of one sequence, for the query heads that share a KV
// head: for row r and head h, position p = first_position + r attends to positions 0..p, or, with a
// window, to the last `window` of them. An online softmax goes over the blocks in order, from the
// first one that is attended to; a block's other positions have weight 0.
//  i8:  a query is quantized to int8 with scale max|q| / 127; scores = int32 dot * (softmax_scale *
//  query_scale * key_scale)
//       (products rounded left to right); weights exp(score - running max) times value_scale are
//       rounded to u8 for each row and block, with step max / 255, so that both products are
//       integer dot products.
//  f32: scores are fma sums over the dims in order, the output fma sums over positions in order.
// A softcap comes next: score = softcap * tanh(score / softcap), as SoftcapArgs; it goes with no
// KeyOffsets.
// ALiBi (arXiv 2108.12409): score = fma(slope, j - p, score) for key position j.
template <typename Kv>
struct AttentionArgs {
  Kv kv;
  int64_t first_position;
  int64_t rows;
  int64_t heads;     // query heads of this KV head, side by side in `query` and `out`
  int64_t head_dim;  // <= kMaxHeadDim
  float softmax_scale;
  const float* query;  // row r, head h at query + r * query_stride + h * head_dim
  int64_t query_stride;
  float* out;  // row r, head h at out + r * out_stride + h * head_dim
  int64_t out_stride;
  int64_t window = 0;                   // 0: all positions
  const float* alibi_slopes = nullptr;  // [heads]; null: none
  KeyOffsets key_offsets = {};          // i8 alone
  float softcap = 0;                    // 0: none
  // What this thread probably reads after these positions, from the first page of the table on;
  // null: unknown. It is fetched into the processor's cache ahead; the result does not change.
  Kv next = {};  // i8 alone
};
inline constexpr int64_t kMaxHeadDim = 256;

// One row (args.rows = 1) and one section of those that it attends to, so that the sections of a
// long context can go to several threads: the unnormalized output, maximum and sum of each head.
// `out` is not used.
struct AttentionSectionArgs {
  AttentionArgs<KvI8> attention;
  int64_t section;
  float* states;  // [heads, SectionStateSize(head_dim)]
};
// Floats: the padded output, maximum, sum, and padding to whole cache lines.
inline constexpr int64_t SectionStateSize(int64_t head_dim) {
  return (head_dim + 15) / 16 * 16 + 16;
}

// The end of it: merges the sections of a row.
struct MergeSectionsArgs {
  const float* states;  // [sections, heads, SectionStateSize(head_dim)]
  int64_t sections;
  int64_t heads;
  int64_t head_dim;
  float* out;  // [heads, head_dim]
};

// --- The table ---------------------------------------------------------------------------------

// CPU features a table may need.
enum CpuFeature : uint32_t {
  kCpuAvx2 = 1u << 0,        // AVX2, FMA and F16C
  kCpuAvx512Vnni = 1u << 1,  // AVX-512 F, BW, DQ, VL and VNNI
  kCpuAmxInt8 = 1u << 2,     // AMX tiles of int8, which the operating system lets us use
  kCpuNeonDotprod = 1u << 3,
};

// A null entry inherits from the next table of the list; scalar has all of them.
struct KernelTable {
  const char* name;
  uint32_t cpu_features;  // bits of CpuFeature that must all be there
#define FPTQ_KERNEL(result, name, parameter) result (*name)(parameter) = nullptr;
#include "kernels/kernel_list.inc"
#undef FPTQ_KERNEL
};

extern const KernelTable kScalarKernels;
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512VnniKernels;
extern const KernelTable kAvx512AmxKernels;
extern const KernelTable kNeonDotprodKernels;

}  // namespace fptq
