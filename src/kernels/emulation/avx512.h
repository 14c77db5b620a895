// The intrinsics of AVX-512 and AMX that avx512vnni.cc and avx512amx.cc use, in plain C++, so that
// kernels_emulated_test compares their bits with scalar's on machines without the instructions.
// Semantics are those of Intel's Software Developer's Manual; what would fault there ends the
// program. Functions are named as the intrinsics are, and stay functions, or the files that use
// them would take minutes to compile.
#pragma once

#include <immintrin.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace fptq::emulated {

#define FPTQ_FUNCTION [[gnu::noinline]] inline

namespace types {  // without functions, which would stand beside those of the files

struct Vector {
  unsigned char bytes[64];

  template <typename T>
  T Get(int i) const {
    T x;
    std::memcpy(&x, bytes + i * static_cast<int>(sizeof(T)), sizeof(T));
    return x;
  }
  template <typename T>
  void Set(int i, T x) {
    std::memcpy(bytes + i * static_cast<int>(sizeof(T)), &x, sizeof(T));
  }
};
struct Floats : Vector {};  // __m512
struct Ints : Vector {};    // __m512i

}  // namespace types
using types::Floats, types::Ints, types::Vector;

[[noreturn]] inline void Fault(const char* what) {
  std::fprintf(stderr, "emulated AVX-512: %s\n", what);
  std::abort();
}

// Member i, a T, is f(i).
template <typename V, typename T, typename F>
V Make(F f) {
  V v;
  for (int i = 0; i < 64 / static_cast<int>(sizeof(T)); ++i) {
    v.template Set<T>(i, static_cast<T>(f(i)));
  }
  return v;
}
template <typename F>
Floats MakeFloats(F f) {
  return Make<Floats, float>(f);
}
template <typename F>
Ints MakeInts(F f) {
  return Make<Ints, int32_t>(f);
}

// --- Loads and stores --------------------------------------------------------------------------

template <typename V>
V Load(const void* p) {
  V v;
  std::memcpy(v.bytes, p, sizeof(v.bytes));
  return v;
}
inline void CheckAligned(const void* p) {
  if (reinterpret_cast<uintptr_t>(p) % 64 != 0) Fault("an address that is not aligned");
}

FPTQ_FUNCTION Floats loadu_ps(const void* p) { return Load<Floats>(p); }
FPTQ_FUNCTION Ints loadu_si512(const void* p) { return Load<Ints>(p); }
FPTQ_FUNCTION Ints load_si512(const void* p) {
  CheckAligned(p);
  return Load<Ints>(p);
}
FPTQ_FUNCTION void storeu_ps(void* p, const Floats& a) { std::memcpy(p, a.bytes, 64); }
FPTQ_FUNCTION void storeu_si512(void* p, const Ints& a) { std::memcpy(p, a.bytes, 64); }
FPTQ_FUNCTION void store_si512(void* p, const Ints& a) {
  CheckAligned(p);
  std::memcpy(p, a.bytes, 64);
}
FPTQ_FUNCTION Floats maskz_loadu_ps(uint16_t mask, const float* p) {
  return MakeFloats([&](int i) { return (mask >> i & 1) != 0 ? p[i] : 0.0f; });
}
FPTQ_FUNCTION void mask_storeu_ps(float* p, uint16_t mask, const Floats& a) {
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i & 1) != 0) p[i] = a.Get<float>(i);
  }
}
FPTQ_FUNCTION Floats set1_ps(float x) {
  return MakeFloats([&](int) { return x; });
}
FPTQ_FUNCTION Ints set1_epi32(int32_t x) {
  return MakeInts([&](int) { return x; });
}
FPTQ_FUNCTION Ints set1_epi8(int8_t x) {
  return Make<Ints, int8_t>([&](int) { return x; });
}
template <typename... Members>
Ints setr_epi32(Members... members) {
  const std::array<int32_t, 16> all = {members...};
  return Load<Ints>(all.data());
}

// --- Member by member --------------------------------------------------------------------------

#define FPTQ_EACH(name, V, T, expression)        \
  FPTQ_FUNCTION V name(const V& a, const V& b) { \
    return Make<V, T>([&](int i) {               \
      const T x = a.Get<T>(i), y = b.Get<T>(i);  \
      return expression;                         \
    });                                          \
  }
FPTQ_EACH(add_ps, Floats, float, x + y)
FPTQ_EACH(sub_ps, Floats, float, x - y)
FPTQ_EACH(mul_ps, Floats, float, x* y)
FPTQ_EACH(div_ps, Floats, float, x / y)
FPTQ_EACH(max_ps, Floats, float, x > y ? x : y)
FPTQ_EACH(min_ps, Floats, float, x < y ? x : y)
FPTQ_EACH(and_si512, Ints, uint32_t, x& y)
FPTQ_EACH(or_si512, Ints, uint32_t, x | y)
FPTQ_EACH(xor_si512, Ints, uint32_t, x ^ y)
FPTQ_EACH(add_epi32, Ints, uint32_t, x + y)
FPTQ_EACH(mullo_epi32, Ints, uint32_t, x* y)
FPTQ_EACH(add_epi8, Ints, uint8_t, x + y)
FPTQ_EACH(sub_epi8, Ints, uint8_t, x - y)
#undef FPTQ_EACH

FPTQ_FUNCTION Floats fmadd_ps(const Floats& a, const Floats& b, const Floats& c) {
  return MakeFloats(
      [&](int i) { return std::fma(a.Get<float>(i), b.Get<float>(i), c.Get<float>(i)); });
}
FPTQ_FUNCTION Floats abs_ps(const Floats& a) {
  return MakeFloats([&](int i) { return std::fabs(a.Get<float>(i)); });
}
FPTQ_FUNCTION Ints slli_epi32(const Ints& a, int count) {
  return Make<Ints, uint32_t>([&](int i) { return a.Get<uint32_t>(i) << count; });
}
FPTQ_FUNCTION Ints srli_epi32(const Ints& a, int count) {
  return Make<Ints, uint32_t>([&](int i) { return a.Get<uint32_t>(i) >> count; });
}
FPTQ_FUNCTION Ints srli_epi16(const Ints& a, int count) {
  return Make<Ints, uint16_t>([&](int i) { return a.Get<uint16_t>(i) >> count; });
}
FPTQ_FUNCTION uint16_t cmp_ps_mask(const Floats& a, const Floats& b, int predicate) {
  if (predicate != _CMP_GT_OQ) Fault("a comparison that is not emulated");
  int mask = 0;
  for (int i = 0; i < 16; ++i) mask |= (a.Get<float>(i) > b.Get<float>(i) ? 1 : 0) << i;
  return static_cast<uint16_t>(mask);
}
FPTQ_FUNCTION Floats mask_blend_ps(uint16_t mask, const Floats& a, const Floats& b) {
  return MakeFloats([&](int i) { return ((mask >> i & 1) != 0 ? b : a).Get<float>(i); });
}

// --- Types and places --------------------------------------------------------------------------

inline Ints castps_si512(const Floats& a) { return Load<Ints>(a.bytes); }
inline Floats castsi512_ps(const Ints& a) { return Load<Floats>(a.bytes); }
inline float cvtss_f32(const Floats& a) { return a.Get<float>(0); }
FPTQ_FUNCTION Ints cvtps_epi32(const Floats& a) {  // half to even; the least for what does not fit
  return MakeInts([&](int i) {
    const float x = a.Get<float>(i);
    const bool fits = x >= -0x1p31f && x < 0x1p31f;
    return fits ? static_cast<int32_t>(std::nearbyint(x)) : std::numeric_limits<int32_t>::min();
  });
}
FPTQ_FUNCTION Floats cvtepi32_ps(const Ints& a) {
  return MakeFloats([&](int i) { return static_cast<float>(a.Get<int32_t>(i)); });
}
FPTQ_FUNCTION __m128i cvtepi32_epi8(const Ints& a) {
  unsigned char bytes[16];
  for (int i = 0; i < 16; ++i) bytes[i] = a.bytes[4 * i];
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}
template <typename T>
Ints Widen(__m128i a) {
  T bytes[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), a);
  return MakeInts([&](int i) { return bytes[i]; });
}
FPTQ_FUNCTION Ints cvtepi8_epi32(__m128i a) { return Widen<int8_t>(a); }
FPTQ_FUNCTION Ints cvtepu8_epi32(__m128i a) { return Widen<uint8_t>(a); }
// To half the width, within its range; in each quarter those of a come before those of b.
template <typename From, typename To>
Ints Pack(const Ints& a, const Ints& b) {
  constexpr int kOf = 16 / static_cast<int>(sizeof(From));  // a quarter
  return Make<Ints, To>([&](int i) {
    const int quarter = i / (2 * kOf), j = i % (2 * kOf);
    const From x = (j < kOf ? a : b).template Get<From>(quarter * kOf + j % kOf);
    constexpr From kMost = std::numeric_limits<To>::max();
    return x < 0 ? From{0} : x > kMost ? kMost : x;
  });
}
FPTQ_FUNCTION Ints packus_epi32(const Ints& a, const Ints& b) {
  return Pack<int32_t, uint16_t>(a, b);
}
FPTQ_FUNCTION Ints packus_epi16(const Ints& a, const Ints& b) {
  return Pack<int16_t, uint8_t>(a, b);
}
// Quarters, or members of each quarter, picked by two bits each. Of two vectors that are one.
FPTQ_FUNCTION Floats shuffle_f32x4(const Floats& a, const Floats&, int pick) {
  return MakeFloats([&](int i) { return a.Get<float>((pick >> (i / 4 * 2) & 3) * 4 + i % 4); });
}
FPTQ_FUNCTION Floats permute_ps(const Floats& a, int pick) {
  return MakeFloats([&](int i) { return a.Get<float>(i / 4 * 4 + (pick >> (i % 4 * 2) & 3)); });
}
FPTQ_FUNCTION Ints permutexvar_epi32(const Ints& order, const Ints& a) {
  return MakeInts([&](int i) { return a.Get<int32_t>(order.Get<int32_t>(i) & 15); });
}

// --- Products ----------------------------------------------------------------------------------

// sums + the products of A members of a with B members of b, a 32-bit member each, modulo 2^32.
template <typename A, typename B>
Ints AddProducts(const Ints& sums, const Ints& a, const Ints& b) {
  constexpr int kEach = 4 / static_cast<int>(sizeof(A));
  return Make<Ints, uint32_t>([&](int i) {
    uint32_t sum = sums.Get<uint32_t>(i);
    for (int j = i * kEach; j < (i + 1) * kEach; ++j) {
      sum += static_cast<uint32_t>(int32_t{a.Get<A>(j)} * int32_t{b.Get<B>(j)});
    }
    return sum;
  });
}
FPTQ_FUNCTION Ints dpbusd_epi32(const Ints& sums, const Ints& a, const Ints& b) {
  return AddProducts<uint8_t, int8_t>(sums, a, b);
}
FPTQ_FUNCTION Ints dpwssd_epi32(const Ints& sums, const Ints& a, const Ints& b) {
  return AddProducts<int16_t, int16_t>(sums, a, b);
}

struct Tile {
  int rows = 0, row_bytes = 0;
  Ints row[16] = {};
};
inline thread_local Tile tiles[8];

FPTQ_FUNCTION void loadconfig(const void* config) {
  const auto* bytes = static_cast<const unsigned char*>(config);
  for (int t = 0; t < 8; ++t) {
    tiles[t] = {.rows = bytes[48 + t], .row_bytes = bytes[16 + 2 * t] | bytes[17 + 2 * t] << 8};
    if (tiles[t].rows > 16 || tiles[t].row_bytes > 64) Fault("a tile that is too large");
  }
}
FPTQ_FUNCTION void release() {
  for (Tile& tile : tiles) tile = {};
}
FPTQ_FUNCTION void zero(int t) {
  for (Ints& row : tiles[t].row) row = {};
}
FPTQ_FUNCTION void loadd(int t, const void* from, int64_t stride) {
  zero(t);
  for (int r = 0; r < tiles[t].rows; ++r) {
    std::memcpy(tiles[t].row[r].bytes, static_cast<const char*>(from) + r * stride,
                static_cast<size_t>(tiles[t].row_bytes));
  }
}
FPTQ_FUNCTION void stored(int t, void* to, int64_t stride) {
  for (int r = 0; r < tiles[t].rows; ++r) {
    std::memcpy(static_cast<char*>(to) + r * stride, tiles[t].row[r].bytes,
                static_cast<size_t>(tiles[t].row_bytes));
  }
}
template <typename A, typename B>
void MultiplyTiles(int sum, int a, int b) {
  Tile &c = tiles[sum], &x = tiles[a], &y = tiles[b];
  if (c.rows == 0 || c.rows != x.rows || c.row_bytes != y.row_bytes || x.row_bytes != 4 * y.rows) {
    Fault("tiles whose shapes do not go together");
  }
  for (int r = 0; r < c.rows; ++r) {
    for (int k = 0; k < y.rows; ++k) {
      c.row[r] = AddProducts<A, B>(c.row[r], set1_epi32(x.row[r].Get<int32_t>(k)), y.row[k]);
    }
  }
}
FPTQ_FUNCTION void dpbssd(int sum, int a, int b) { MultiplyTiles<int8_t, int8_t>(sum, a, b); }
FPTQ_FUNCTION void dpbsud(int sum, int a, int b) { MultiplyTiles<int8_t, uint8_t>(sum, a, b); }
FPTQ_FUNCTION void dpbusd(int sum, int a, int b) { MultiplyTiles<uint8_t, int8_t>(sum, a, b); }

#undef FPTQ_FUNCTION

}  // namespace fptq::emulated

#define __m512 fptq::emulated::Floats
#define __m512i fptq::emulated::Ints
#define __mmask16 uint16_t

#undef _mm512_abs_ps
#define _mm512_abs_ps fptq::emulated::abs_ps
#undef _mm512_add_epi32
#define _mm512_add_epi32 fptq::emulated::add_epi32
#undef _mm512_add_epi8
#define _mm512_add_epi8 fptq::emulated::add_epi8
#undef _mm512_add_ps
#define _mm512_add_ps fptq::emulated::add_ps
#undef _mm512_and_si512
#define _mm512_and_si512 fptq::emulated::and_si512
#undef _mm512_castps_si512
#define _mm512_castps_si512 fptq::emulated::castps_si512
#undef _mm512_castsi512_ps
#define _mm512_castsi512_ps fptq::emulated::castsi512_ps
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_ps_mask fptq::emulated::cmp_ps_mask
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8 fptq::emulated::cvtepi32_epi8
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps fptq::emulated::cvtepi32_ps
#undef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32 fptq::emulated::cvtepi8_epi32
#undef _mm512_cvtepu8_epi32
#define _mm512_cvtepu8_epi32 fptq::emulated::cvtepu8_epi32
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 fptq::emulated::cvtps_epi32
#undef _mm512_cvtss_f32
#define _mm512_cvtss_f32 fptq::emulated::cvtss_f32
#undef _mm512_div_ps
#define _mm512_div_ps fptq::emulated::div_ps
#undef _mm512_dpbusd_epi32
#define _mm512_dpbusd_epi32 fptq::emulated::dpbusd_epi32
#undef _mm512_dpwssd_epi32
#define _mm512_dpwssd_epi32 fptq::emulated::dpwssd_epi32
#undef _mm512_fmadd_ps
#define _mm512_fmadd_ps fptq::emulated::fmadd_ps
#undef _mm512_load_si512
#define _mm512_load_si512 fptq::emulated::load_si512
#undef _mm512_loadu_ps
#define _mm512_loadu_ps fptq::emulated::loadu_ps
#undef _mm512_loadu_si512
#define _mm512_loadu_si512 fptq::emulated::loadu_si512
#undef _mm512_mask_blend_ps
#define _mm512_mask_blend_ps fptq::emulated::mask_blend_ps
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps fptq::emulated::mask_storeu_ps
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps fptq::emulated::maskz_loadu_ps
#undef _mm512_max_ps
#define _mm512_max_ps fptq::emulated::max_ps
#undef _mm512_min_ps
#define _mm512_min_ps fptq::emulated::min_ps
#undef _mm512_mul_ps
#define _mm512_mul_ps fptq::emulated::mul_ps
#undef _mm512_mullo_epi32
#define _mm512_mullo_epi32 fptq::emulated::mullo_epi32
#undef _mm512_or_si512
#define _mm512_or_si512 fptq::emulated::or_si512
#undef _mm512_packus_epi16
#define _mm512_packus_epi16 fptq::emulated::packus_epi16
#undef _mm512_packus_epi32
#define _mm512_packus_epi32 fptq::emulated::packus_epi32
#undef _mm512_permute_ps
#define _mm512_permute_ps fptq::emulated::permute_ps
#undef _mm512_permutexvar_epi32
#define _mm512_permutexvar_epi32 fptq::emulated::permutexvar_epi32
#undef _mm512_set1_epi32
#define _mm512_set1_epi32 fptq::emulated::set1_epi32
#undef _mm512_set1_epi8
#define _mm512_set1_epi8 fptq::emulated::set1_epi8
#undef _mm512_set1_ps
#define _mm512_set1_ps fptq::emulated::set1_ps
#undef _mm512_setr_epi32
#define _mm512_setr_epi32 fptq::emulated::setr_epi32
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4 fptq::emulated::shuffle_f32x4
#undef _mm512_slli_epi32
#define _mm512_slli_epi32 fptq::emulated::slli_epi32
#undef _mm512_srli_epi32
#define _mm512_srli_epi32 fptq::emulated::srli_epi32
#undef _mm512_srli_epi16
#define _mm512_srli_epi16 fptq::emulated::srli_epi16
#undef _mm512_store_si512
#define _mm512_store_si512 fptq::emulated::store_si512
#undef _mm512_storeu_ps
#define _mm512_storeu_ps fptq::emulated::storeu_ps
#undef _mm512_storeu_si512
#define _mm512_storeu_si512 fptq::emulated::storeu_si512
#undef _mm512_sub_epi8
#define _mm512_sub_epi8 fptq::emulated::sub_epi8
#undef _mm512_sub_ps
#define _mm512_sub_ps fptq::emulated::sub_ps
#undef _mm512_xor_si512
#define _mm512_xor_si512 fptq::emulated::xor_si512
#undef _tile_loadconfig
#define _tile_loadconfig fptq::emulated::loadconfig
#undef _tile_release
#define _tile_release fptq::emulated::release
#undef _tile_zero
#define _tile_zero fptq::emulated::zero
#undef _tile_loadd
#define _tile_loadd fptq::emulated::loadd
#undef _tile_stored
#define _tile_stored fptq::emulated::stored
#undef _tile_dpbssd
#define _tile_dpbssd fptq::emulated::dpbssd
#undef _tile_dpbsud
#define _tile_dpbsud fptq::emulated::dpbsud
#undef _tile_dpbusd
#define _tile_dpbusd fptq::emulated::dpbusd
