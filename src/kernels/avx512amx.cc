// AVX-512 with AMX: the products of 16 rows with 16 output channels are one tile of 16 x 16 int32,
// to which an instruction adds those of 64 inputs. What it does for several rows at a time is done
// here; all else is as in avx512vnni.cc.

// GCC 12 takes the undefined operands inside its own AVX-512 intrinsics for uninitialized
// variables.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include <immintrin.h>

#include "kernels/kernels.h"

namespace fptq {
namespace {

// Tiles sleep while vectors work and take time to wake, so each phase has many queries.
constexpr int64_t kQueryTile = 64;
#include "kernels/lanes_avx512.inc"

// --- Tiles -------------------------------------------------------------------------------------
// A tile register has up to 16 rows of up to 64 bytes. Registers 0 to 3 are sums, 4 what is
// multiplied (a row each), 5 what it is multiplied with (four inputs a row); 6 and 7 are as 4 and
// 5, for a rest of less than 64 inputs. The intrinsics are macros that take numbers alone.

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileInputs = 64;
constexpr int64_t kTileStride = 4 * kTileChannels;  // bytes of a row of sums or of weights
constexpr int kSumTiles = 4;
// Fewer rows are faster without tiles.
constexpr int64_t kFewestRows = 8;
using Sums = int32_t[kTileRows][kTileChannels];

// The shapes of the tile registers, as ldtilecfg reads them.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// For products of `rows` rows (up to 16) with `inputs` inputs at a time (a multiple of 4 up to 64),
// and with a `rest` of them.
void ShapeTiles(int64_t rows, int64_t inputs, int64_t rest = 0) {
  TileShapes shapes;
  const auto shape = [&](int tile, int64_t tile_rows, int64_t row_bytes) {
    shapes.rows[tile] = static_cast<uint8_t>(tile_rows);
    shapes.row_bytes[tile] = static_cast<uint16_t>(row_bytes);
  };
  for (int tile = 0; tile < kSumTiles; ++tile) shape(tile, rows, kTileStride);
  shape(4, rows, inputs);
  shape(5, inputs / 4, kTileStride);
  if (rest > 0) {
    shape(6, rows, rest);
    shape(7, rest / 4, kTileStride);
  }
  asm volatile("" : : "r"(&shapes) : "memory");  // the intrinsic says that it reads eight bytes
  _tile_loadconfig(&shapes);
}

// Before tiles are loaded of what was written just now: the intrinsics do not say that they read.
inline void BeforeTiles() { asm volatile("" : : : "memory"); }

template <int kIndex>
struct Index {};

// sums = rows . weights, with sum register kIndex, for `steps` times `inputs` inputs; the rows lie
// `row_stride` bytes apart, a tile of weights behind the other.
template <int kIndex>
inline void MultiplyTiles(const int8_t* rows, int64_t row_stride, const int8_t* weights,
                          int64_t steps, int64_t inputs, Sums& sums) {
  if constexpr (kIndex == 0) _tile_zero(0);
  if constexpr (kIndex == 1) _tile_zero(1);
  if constexpr (kIndex == 2) _tile_zero(2);
  for (int64_t i = 0; i < steps; ++i) {
    _tile_loadd(5, weights, kTileStride);
    _tile_loadd(4, rows, row_stride);
    if constexpr (kIndex == 0) _tile_dpbssd(0, 4, 5);
    if constexpr (kIndex == 1) _tile_dpbssd(1, 4, 5);
    if constexpr (kIndex == 2) _tile_dpbssd(2, 4, 5);
    rows += inputs;
    weights += inputs * kTileChannels;
  }
  if constexpr (kIndex == 0) _tile_stored(0, sums, kTileStride);
  if constexpr (kIndex == 1) _tile_stored(1, sums, kTileStride);
  if constexpr (kIndex == 2) _tile_stored(2, sums, kTileStride);
}

// --- GEMM --------------------------------------------------------------------------------------

// Groups whose sums are computed together, since tiles and vectors take turns at the same ports.
constexpr int64_t kGroupsTogether = 3;
// Activations of the rows that go through all tiles together: they stay in half of the L2 cache.
constexpr int64_t kRowBytes = 1 << 20;
constexpr int64_t kMostRows = 512;
// Inputs of a panel: it stays in the L1 cache, unless a group is longer, of which it has one.
constexpr int64_t kPanelInputs = 1024;
constexpr int64_t kMostInputs = 8192;

// The weights of a tile of channels and of some groups, less their offsets and zero points, as tile
// registers have them; and the sums of the groups before, of up to kMostRows rows.
struct Panel {
  alignas(64) int8_t weights[kMostInputs * kTileChannels];
  alignas(64) float sums[kMostRows][kTileChannels];
};

// Which weights a panel has; first_row is that of its sums.
struct Part {
  int64_t tile;
  int64_t first_group, end_group;
  int64_t first_row;
};

template <int kBits>
void Unpack(const QuantizedGemmArgs& args, const Part& part, int8_t* out) {
  constexpr int64_t kParts = 8 / kBits;
  const int64_t groups = args.k / args.group_size;
  const int64_t group_bytes = kTileChannels * args.group_size / kParts;
  const int64_t first = part.tile * groups + part.first_group;
  const uint8_t* weights = args.weights + first * group_bytes;
  const Bytes mask = _mm512_set1_epi8(0x0f);
  for (int64_t g = first; g < first + part.end_group - part.first_group; ++g) {
    Bytes offset = _mm512_set1_epi8(8);
    if (kBits == 4 && args.zero_points != nullptr) {
      const __m128i zeros =
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(args.zero_points + g * kTileChannels));
      const Ints four_of_each =
          _mm512_mullo_epi32(_mm512_cvtepu8_epi32(zeros), BroadcastInts(0x01010101));
      offset = _mm512_add_epi8(offset, four_of_each);
    }
    for (int64_t v = 0; v < group_bytes; v += 64) {
      const Bytes packed = LoadBytes(weights + v);
      // The same of the next tile is read next.
      _mm_prefetch(weights + v + groups * group_bytes, _MM_HINT_T1);
      if (kBits == 8) {
        _mm512_store_si512(out, _mm512_xor_si512(packed, _mm512_set1_epi8(-128)));
      } else {
        const Bytes low = _mm512_and_si512(packed, mask);
        const Bytes high = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
        _mm512_store_si512(out, _mm512_sub_epi8(low, offset));
        _mm512_store_si512(out + 64, _mm512_sub_epi8(high, offset));
      }
      out += 64 * kParts;
    }
    weights += group_bytes;
  }
  BeforeTiles();
}

// The rows from `row` on that tile registers have, up to kRows, of which [begin, end) are wanted.
template <int kRows>
void Block(const QuantizedGemmArgs& args, Panel& panel, const Part& part, int64_t row,
           int64_t begin, int64_t end) {
  const int64_t groups = args.k / args.group_size;
  const int64_t inputs = args.group_size % kTileInputs == 0 ? kTileInputs : kMinGroupSize;
  const int64_t steps = args.group_size / inputs;
  const int8_t* activations = args.activations + row * args.k + part.first_group * args.group_size;
  const int8_t* weights = panel.weights;
  const float* scales =
      args.weight_scales + (part.tile * groups + part.first_group) * kTileChannels;
  const float* row_scales = args.activation_scales + row * groups + part.first_group;
  int64_t of_row[kRows];  // in row_scales; kRows may be more than there are
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) of_row[r] = (r < end ? r : end - 1) * groups;
  float(*partial)[kTileChannels] = panel.sums + (row - part.first_row);
  const bool first = part.first_group == 0, last = part.end_group == groups;
  alignas(64) Sums sums[kGroupsTogether];
  Lanes out[kRows];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    out[r] = Broadcast(0.0f);
    if (r < begin || r >= end) continue;
    if (!first) out[r] = Load(partial[r]);
    // Finish writes there, and reads if it accumulates; of many rows it is in no cache near by.
    _mm_prefetch(args.out + (row + r) * args.out_stride + part.tile * kTileChannels, _MM_HINT_T0);
  }
  const auto multiply = [&]<int kIndex>(Index<kIndex>) {
    MultiplyTiles<kIndex>(activations, args.k, weights, steps, inputs, sums[kIndex]);
    activations += args.group_size;
    weights += args.group_size * kTileChannels;
  };
  const auto add = [&](int index) {
    const Lanes scale = Load(scales);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Lanes sum = ToLanes(_mm512_load_si512(sums[index][r]));
      out[r] = Fma(Mul(sum, Broadcast(row_scales[of_row[r]])), scale, out[r]);
    }
    scales += kTileChannels;
    ++row_scales;
  };
  for (int64_t left = part.end_group - part.first_group; left > 0; left -= kGroupsTogether) {
    multiply(Index<0>());
    if (left > 1) multiply(Index<1>());
    if (left > 2) multiply(Index<2>());
    add(0);
    if (left > 1) add(1);
    if (left > 2) add(2);
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    if (r < begin || r >= end) continue;
    if (last) {
      Finish(args, row + r, part.tile, out[r]);
    } else {
      Store(partial[r], out[r]);
    }
  }
}

template <int kBits>
void QuantizedGemm(const QuantizedGemmArgs& args) {
  if (args.rows < kFewestRows || args.group_size > kMostInputs) {
    return (kBits == 4 ? kAvx512VnniKernels.gemm_w4 : kAvx512VnniKernels.gemm_w8)(args);
  }
  const int64_t groups = args.k / args.group_size;
  const int64_t panel_groups = args.group_size < kPanelInputs ? kPanelInputs / args.group_size : 1;
  int64_t chunk = kRowBytes / args.k / kTileRows * kTileRows;
  chunk = chunk < kTileRows ? kTileRows : chunk > kMostRows ? kMostRows : chunk;
  const int64_t block_rows = args.rows < kTileRows ? args.rows : kTileRows;
  ShapeTiles(block_rows, args.group_size % kTileInputs == 0 ? kTileInputs : kMinGroupSize);
  const auto block = block_rows <= kTileRows / 2 ? Block<kTileRows / 2> : Block<kTileRows>;
  Panel panel;
  for (int64_t first = 0; first < args.rows; first += chunk) {
    const int64_t end = first + chunk < args.rows ? first + chunk : args.rows;
    for (int64_t tile = args.tile_begin; tile < args.tile_end; ++tile) {
      for (int64_t g = 0; g < groups; g += panel_groups) {
        const Part part{.tile = tile,
                        .first_group = g,
                        .end_group = g + panel_groups < groups ? g + panel_groups : groups,
                        .first_row = first};
        Unpack<kBits>(args, part, panel.weights);
        for (int64_t row = first; row < end; row += block_rows) {
          // The last rows come in a block that ends with them; those before are there already.
          const int64_t begin = row + block_rows > end ? row + block_rows - end : 0;
          block(args, panel, part, row - begin, begin, block_rows);
        }
      }
    }
  }
  _tile_release();
}

// --- Attention ---------------------------------------------------------------------------------

// The products of up to kQueryTile queries with a block, 16 at a time.
struct TileProducts {
  void Start(const QueryTile<KvI8>&, int64_t) {}

  void Multiply(const QueryTile<KvI8>& tile, int64_t begin, int64_t end, const QueryI8* queries,
                const uint8_t* keys, const float* key_scales, Scores& scores) const {
    static_assert(kKvVectors == kSumTiles);
    BeforeTiles();
    alignas(64) Sums sums[kQueryTile / kTileRows][kSumTiles];
    for (int64_t i = begin / kTileRows * kTileRows; i < end; i += kTileRows) {
      MultiplyQueries(queries + i, keys, PaddedDim(tile.args.head_dim), sums[i / kTileRows]);
    }
    for (int64_t i = begin; i < end; ++i) {
      const Sums* of_query = sums[i / kTileRows];
      const Ints offset = BroadcastInts(queries[i].offset);
      for (int64_t v = 0; v < kKvVectors; ++v) {
        const Ints sum = _mm512_add_epi32(_mm512_load_si512(of_query[v][i % kTileRows]), offset);
        const Lanes scale = Mul(Broadcast(queries[i].scale), Load(key_scales + v * kLanes));
        Store(scores[i] + v * kLanes, Mul(ToLanes(sum), scale));
      }
    }
  }

  // 16 queries.
  static void MultiplyQueries(const QueryI8* queries, const uint8_t* keys, int64_t dim,
                              Sums (&sums)[kSumTiles]) {
    const int64_t stride = kLanes * dim;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    int64_t d = 0;
    for (; d + kTileInputs <= dim; d += kTileInputs) {
      const uint8_t* from = keys + d * kLanes;
      _tile_loadd(4, queries->q + d, sizeof(QueryI8));
      _tile_loadd(5, from, kTileStride);
      _tile_dpbsud(0, 4, 5);
      _tile_loadd(5, from + stride, kTileStride);
      _tile_dpbsud(1, 4, 5);
      _tile_loadd(5, from + 2 * stride, kTileStride);
      _tile_dpbsud(2, 4, 5);
      _tile_loadd(5, from + 3 * stride, kTileStride);
      _tile_dpbsud(3, 4, 5);
    }
    if (d < dim) {
      const uint8_t* from = keys + d * kLanes;
      _tile_loadd(6, queries->q + d, sizeof(QueryI8));
      _tile_loadd(7, from, kTileStride);
      _tile_dpbsud(0, 6, 7);
      _tile_loadd(7, from + stride, kTileStride);
      _tile_dpbsud(1, 6, 7);
      _tile_loadd(7, from + 2 * stride, kTileStride);
      _tile_dpbsud(2, 6, 7);
      _tile_loadd(7, from + 3 * stride, kTileStride);
      _tile_dpbsud(3, 6, 7);
    }
    _tile_stored(0, sums[0], kTileStride);
    _tile_stored(1, sums[1], kTileStride);
    _tile_stored(2, sums[2], kTileStride);
    _tile_stored(3, sums[3], kTileStride);
  }

  void AddValues(const QueryTile<KvI8>& tile, int64_t begin, int64_t end, int64_t,
                 const WeightsU8& weights, const int8_t* values, SoftmaxStates& states) const {
    static_assert(kKvBlock == kTileInputs);
    const int64_t dim = PaddedDim(tile.args.head_dim);
    BeforeTiles();
    for (int64_t d = 0; d < dim; d += kSumTiles * kLanes) {
      const int64_t left = (dim - d) / kLanes, vectors = left < kSumTiles ? left : kSumTiles;
      alignas(64) Sums sums[kQueryTile / kTileRows][kSumTiles];
      for (int64_t i = begin / kTileRows * kTileRows; i < end; i += kTileRows) {
        const int8_t* from = values + d * kKvBlock;
        Sums* of_queries = sums[i / kTileRows];
        _tile_loadd(4, weights.w[i], kKvBlock);
        AddValueTile(Index<0>(), from, of_queries[0]);
        if (vectors > 1) AddValueTile(Index<1>(), from + kLanes * kKvBlock, of_queries[1]);
        if (vectors > 2) AddValueTile(Index<2>(), from + 2 * kLanes * kKvBlock, of_queries[2]);
        if (vectors > 3) AddValueTile(Index<3>(), from + 3 * kLanes * kKvBlock, of_queries[3]);
      }
      for (int64_t i = begin; i < end; ++i) {
        const Sums* of_query = sums[i / kTileRows];
        const Lanes correction = Broadcast(weights.corrections[i - begin]);
        const Lanes step = Broadcast(weights.steps[i - begin]);
        for (int64_t v = 0; v < vectors; ++v) {
          float* out = states.Out(i) + d + v * kLanes;
          const Lanes sum = ToLanes(_mm512_load_si512(of_query[v][i % kTileRows]));
          Store(out, Fma(sum, step, Mul(Load(out), correction)));
        }
      }
    }
  }

  // Register 4 has the weights.
  template <int kIndex>
  static void AddValueTile(Index<kIndex>, const int8_t* values, Sums& sums) {
    _tile_loadd(5, values, kTileStride);
    if constexpr (kIndex == 0) {
      _tile_zero(0);
      _tile_dpbusd(0, 4, 5);
      _tile_stored(0, sums, kTileStride);
    } else if constexpr (kIndex == 1) {
      _tile_zero(1);
      _tile_dpbusd(1, 4, 5);
      _tile_stored(1, sums, kTileStride);
    } else if constexpr (kIndex == 2) {
      _tile_zero(2);
      _tile_dpbusd(2, 4, 5);
      _tile_stored(2, sums, kTileStride);
    } else {
      _tile_zero(3);
      _tile_dpbusd(3, 4, 5);
      _tile_stored(3, sums, kTileStride);
    }
  }
};

void TileAttentionI8(const AttentionArgs<KvI8>& args) {
  if (args.rows == 1 || args.rows * args.heads < kFewestRows) return AttentionI8(args);
  ShapeTiles(kTileRows, kTileInputs, PaddedDim(args.head_dim) % kTileInputs);
  RunAttentionI8<TileProducts>(args);
  _tile_release();
}

// --- Peak --------------------------------------------------------------------------------------

// The sums of a tile of ones.
int64_t Int8Peak(int64_t steps) {
  // Before the sums overflow they are added up.
  constexpr int64_t kSteps = int64_t{1} << 20;
  alignas(64) int8_t ones[kTileRows][kTileInputs];
  for (auto& row : ones) {
    for (int8_t& x : row) x = 1;
  }
  asm volatile("" : : "r"(ones) : "memory");
  ShapeTiles(kTileRows, kTileInputs);
  _tile_loadd(4, ones, kTileInputs);
  _tile_loadd(5, ones, kTileInputs);
  int64_t total = 0;
  for (int64_t done = 0; done < steps;) {
    const int64_t end = steps - done < kSteps ? steps : done + kSteps;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (; done < end; ++done) {
      _tile_dpbssd(0, 4, 5);
      _tile_dpbssd(1, 4, 5);
      _tile_dpbssd(2, 4, 5);
      _tile_dpbssd(3, 4, 5);
    }
    alignas(64) Sums sums[kSumTiles];
    _tile_stored(0, sums[0], kTileStride);
    _tile_stored(1, sums[1], kTileStride);
    _tile_stored(2, sums[2], kTileStride);
    _tile_stored(3, sums[3], kTileStride);
    for (const auto& tile : sums) {
      for (const auto& row : tile) {
        for (const int32_t x : row) total += x;
      }
    }
  }
  _tile_release();
  return total;
}

}  // namespace

// A null entry is that of avx512vnni.cc.
constinit const KernelTable kAvx512AmxKernels = {
    .name = "avx512amx",
    .cpu_features = kCpuAvx2 | kCpuAvx512Vnni | kCpuAmxInt8,
    .gemm_w4 = QuantizedGemm<4>,
    .gemm_w8 = QuantizedGemm<8>,
    .attention_i8 = TileAttentionI8,
    .int8_peak = Int8Peak,
};

}  // namespace fptq
