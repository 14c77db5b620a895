// Every table gives the bits of scalar.cc, and scalar.cc agrees with the formulas in double
// precision: KV cache and attention.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "kernels/testing.h"

namespace fptq {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The block table of a cache of so many positions: its pages, the last ones first.
std::vector<int32_t> Pages(int64_t capacity) {
  std::vector<int32_t> pages;
  for (int64_t page = capacity / kKvBlock; page-- > 0;) {
    pages.push_back(static_cast<int32_t>(page));
  }
  return pages;
}

// A cache with the positions 0..depth-1, and garbage in those that follow.
struct CacheI8 {
  AlignedBuffer<uint8_t> keys;
  AlignedBuffer<int8_t> values;
  AlignedBuffer<float> key_scales, value_scales;
  std::vector<int32_t> pages;

  CacheI8(int64_t capacity, int64_t dim)
      : keys(capacity * dim),
        values(capacity * dim),
        key_scales(capacity),
        value_scales(capacity),
        pages(Pages(capacity)) {
    std::ranges::fill(keys.span(), uint8_t{0xab});
    std::ranges::fill(values.span(), int8_t{99});
    std::ranges::fill(key_scales.span(), kNan);
    std::ranges::fill(value_scales.span(), kNan);
  }
  KvI8 kv() {
    return {keys.data(), values.data(), key_scales.data(), value_scales.data(), pages.data()};
  }
};

struct CacheF32 {
  AlignedBuffer<float> keys, values;
  std::vector<int32_t> pages;

  CacheF32(int64_t capacity, int64_t dim)
      : keys(capacity * dim), values(capacity * dim), pages(Pages(capacity)) {
    std::ranges::fill(keys.span(), kNan);
    std::ranges::fill(values.span(), kNan);
  }
  KvF32 kv() { return {keys.data(), values.data(), pages.data()}; }
};

struct Case {
  int64_t heads, head_dim, depth, rows;
  int64_t window = 0;
  float softcap = 0;
  std::vector<float> slopes;   // of ALiBi
  std::vector<float> offsets;  // of the keys, [sections, head_dim]; an int8 cache alone has them
  int64_t dim = (head_dim + 15) / 16 * 16;
  int64_t capacity = (depth + kKvBlock - 1) / kKvBlock * kKvBlock;
  std::vector<float> keys, values, queries;

  Case(std::mt19937& rng, int64_t heads_in, int64_t head_dim_in, int64_t depth_in, int64_t rows_in)
      : heads(heads_in), head_dim(head_dim_in), depth(depth_in), rows(std::min(rows_in, depth_in)) {
    keys = Normal(rng, depth * head_dim, 2);
    values = Normal(rng, depth * head_dim);
    queries = Normal(rng, rows * heads * head_dim, 2);
    std::fill_n(keys.begin(), head_dim, 0.0f);
    std::fill_n(values.begin(), head_dim, 0.0f);
    if (rows > 2) std::fill_n(queries.begin(), head_dim, 0.0f);
  }

  template <typename Kv>
  void Fill(Kv kv, void (*append)(const AppendKvArgs<Kv>&)) const {
    for (int64_t p = 0; p < depth; ++p) {
      append({kv, p, head_dim, keys.data() + p * head_dim, values.data() + p * head_dim,
              key_offsets()});
    }
  }

  // Rows [begin, begin + count) of the last `rows` positions.
  template <typename Kv>
  AttentionArgs<Kv> Args(Kv kv, std::vector<float>& out, int64_t begin, int64_t count) const {
    const int64_t stride = heads * head_dim;
    return {.kv = kv,
            .first_position = depth - rows + begin,
            .rows = count,
            .heads = heads,
            .head_dim = head_dim,
            .softmax_scale = 1 / std::sqrt(static_cast<float>(head_dim)),
            .query = queries.data() + begin * stride,
            .query_stride = stride,
            .out = out.data() + begin * stride,
            .out_stride = stride,
            .window = window,
            .alibi_slopes = slopes.empty() ? nullptr : slopes.data(),
            .key_offsets = key_offsets(),
            .softcap = softcap};
  }
  KeyOffsets key_offsets() const {
    return {offsets.data(), std::ssize(offsets) / head_dim, head_dim};
  }
  // Element d of the offset at position p; 0 if there is none.
  float Offset(int64_t p, int64_t d) const {
    const float* offset = key_offsets().At(p / kKvSection);
    return offset == nullptr ? 0.0f : offset[d];
  }

  // The positions that row r of the last `rows` attends to.
  int64_t Begin(int64_t r) const { return window == 0 ? 0 : std::max<int64_t>(0, End(r) - window); }
  int64_t End(int64_t r) const { return depth - rows + r + 1; }
  double Cap(double score) const {
    return softcap == 0 ? score : softcap * std::tanh(score / softcap);
  }
  // What ALiBi adds to the score of query i (row i / heads, head i % heads) with position p.
  double Alibi(int64_t i, int64_t p) const {
    if (slopes.empty()) return 0;
    return double{slopes[Size(i % heads)]} * static_cast<double>(p + 1 - End(i / heads));
  }

  std::string Name() const {
    return fmt::format("heads {} head_dim {} depth {} rows {} window {}{}{}{}", heads, head_dim,
                       depth, rows, window, slopes.empty() ? "" : " alibi",
                       offsets.empty() ? "" : " offsets", softcap == 0 ? "" : " softcap");
  }
};

std::vector<Case> Cases() {
  std::mt19937 rng(1);
  std::vector<Case> cases;
  for (int64_t head_dim : {8, 16, 20, 64, 80, 128, 256}) {
    for (int64_t depth : {1, 2, 63, 64, 65, 128, 200, 333}) {
      cases.emplace_back(rng, RandomInt(rng, 1, 9), head_dim, depth, RandomInt(rng, 1, 24));
    }
  }
  cases.emplace_back(rng, 3, 64, 150, 150);
  // Several sections; rows on both sides of a boundary.
  cases.emplace_back(rng, 3, 64, kKvSection + 5, 20);
  cases.emplace_back(rng, 17, 20, 3 * kKvSection, 3);
  cases.emplace_back(rng, 4, 128, 2 * kKvSection + 70, 12);
  const size_t plain = cases.size();
  for (size_t i = 0; i < plain; i += 3) {
    cases.push_back(cases[i]);
    cases.back().slopes = Normal(rng, cases[i].heads, 0.1f);
  }
  // Windows that begin in the middle of a block, at its edges, before a section and at it.
  for (const int64_t window : {1, 2, 63, 64, 65, 100, 1000, 1024, 1025, 5000}) {
    for (const int64_t depth : {int64_t{90}, int64_t{150}, kKvSection + 66, 2 * kKvSection + 10}) {
      Case& c = cases.emplace_back(rng, RandomInt(rng, 1, 2), 20, depth, 80);
      c.window = window;
      if (window % 2 == 1) c.slopes = Normal(rng, c.heads, 0.1f);
    }
  }
  const size_t without_offsets = cases.size();
  for (size_t i = 0; i < without_offsets; i += 5) {
    cases.push_back(cases[i]);
    cases.back().softcap = i % 2 == 0 ? 2.0f : 50.0f;
  }
  for (size_t i = 0; i < without_offsets; i += 2) {
    Case& c = cases.emplace_back(cases[i]);
    // The last section of a long context has none.
    const int64_t sections = std::max<int64_t>(1, c.depth / kKvSection);
    c.offsets = Normal(rng, sections * c.head_dim);
  }
  return cases;
}

// All rows at once; then one by one, which must give the same.
template <typename Kv>
void ExpectRowsAsScalar(const Case& c, Kv kv,
                        void (*KernelTable::*attention)(const AttentionArgs<Kv>&)) {
  std::vector<float> expected(c.queries.size());
  (Scalar().*attention)(c.Args(kv, expected, 0, c.rows));
  for (const KernelTable& table : SupportedKernels()) {
    const std::string what = fmt::format("{} {}", table.name, c.Name());
    std::vector<float> chunk(expected.size()), alone(expected.size());
    (table.*attention)(c.Args(kv, chunk, 0, c.rows));
    ExpectSameBits(expected, chunk, what);
    for (int64_t r = 0; r < c.rows; ++r) (table.*attention)(c.Args(kv, alone, r, 1));
    ExpectSameBits(expected, alone, what + ", rows alone");
  }
}

TEST(AttentionI8, AllTablesGiveTheBitsOfScalarInAnyChunking) {
  for (const Case& c : Cases()) {
    CacheI8 expected(c.capacity, c.dim);
    c.Fill(expected.kv(), Scalar().append_kv_i8);
    for (const KernelTable& table : SupportedKernels()) {
      CacheI8 found(c.capacity, c.dim);
      c.Fill(found.kv(), table.append_kv_i8);
      ExpectSameBits(expected.keys.data(), found.keys.data(), found.keys.size(), table.name);
      ExpectSameBits(expected.values.data(), found.values.data(), found.values.size(), table.name);
      ExpectSameBits(expected.key_scales.data(), found.key_scales.data(), c.capacity, table.name);
      ExpectSameBits(expected.value_scales.data(), found.value_scales.data(), c.capacity,
                     table.name);
    }
    ExpectRowsAsScalar(c, expected.kv(), &KernelTable::attention_i8);
  }
}

// The sections of a row one by one, as threads share them.
TEST(AttentionI8, SectionsMergeToTheWhole) {
  for (const Case& c : Cases()) {
    CacheI8 cache(c.capacity, c.dim);
    c.Fill(cache.kv(), Scalar().append_kv_i8);
    std::vector<float> expected(c.queries.size());
    Scalar().attention_i8(c.Args(cache.kv(), expected, 0, c.rows));
    for (const KernelTable& table : SupportedKernels()) {
      std::vector<float> found(c.queries.size());
      for (int64_t r = 0; r < c.rows; ++r) {
        const AttentionArgs<KvI8> args = c.Args(cache.kv(), found, r, 1);
        const int64_t first = c.Begin(r) / kKvSection;
        const int64_t sections = args.first_position / kKvSection + 1 - first;
        const int64_t size = c.heads * SectionStateSize(c.head_dim);
        std::vector<float> states(Size(sections * size), kNan);
        for (int64_t i = 0; i < sections; ++i) {
          table.attention_section_i8({args, first + i, states.data() + i * size});
        }
        table.merge_sections({states.data(), sections, c.heads, c.head_dim, args.out});
      }
      ExpectSameBits(expected, found, fmt::format("{} {}", table.name, c.Name()));
    }
  }
}

TEST(AttentionF32, AllTablesGiveTheBitsOfScalarInAnyChunking) {
  for (const Case& c : Cases()) {
    CacheF32 expected(c.capacity, c.dim);
    c.Fill(expected.kv(), Scalar().append_kv_f32);
    for (const KernelTable& table : SupportedKernels()) {
      CacheF32 found(c.capacity, c.dim);
      c.Fill(found.kv(), table.append_kv_f32);
      ExpectSameBits(expected.keys.data(), found.keys.data(), found.keys.size(), table.name);
      ExpectSameBits(expected.values.data(), found.values.data(), found.values.size(), table.name);
    }
    ExpectRowsAsScalar(c, expected.kv(), &KernelTable::attention_f32);
  }
}

// What lies before the window of all rows may be anything, and so may the block table.
TEST(AttentionI8, ReadsNothingBeforeTheWindow) {
  for (const Case& c : Cases()) {
    const int64_t begin = c.Begin(0);
    if (begin == 0) continue;
    CacheI8 i8(c.capacity, c.dim);
    CacheF32 f32(c.capacity, c.dim);
    c.Fill(i8.kv(), Scalar().append_kv_i8);
    c.Fill(f32.kv(), Scalar().append_kv_f32);
    std::vector<float> expected_i8(c.queries.size()), expected_f32(c.queries.size());
    Scalar().attention_i8(c.Args(i8.kv(), expected_i8, 0, c.rows));
    Scalar().attention_f32(c.Args(f32.kv(), expected_f32, 0, c.rows));

    const std::vector<float> nan(Size(c.head_dim), kNan);
    for (int64_t p = 0; p < begin; ++p) {
      const int64_t at = i8.pages[Size(p / kKvBlock)] * kKvBlock + p % kKvBlock;
      i8.key_scales[at] = i8.value_scales[at] = kNan;
      Scalar().append_kv_f32({f32.kv(), p, c.head_dim, nan.data(), nan.data()});
    }
    std::fill_n(i8.pages.begin(), begin / kKvBlock, -1'000'000);
    std::fill_n(f32.pages.begin(), begin / kKvBlock, -1'000'000);
    for (const KernelTable& table : SupportedKernels()) {
      std::vector<float> found(c.queries.size());
      table.attention_i8(c.Args(i8.kv(), found, 0, c.rows));
      ExpectSameBits(expected_i8, found, fmt::format("{} {}", table.name, c.Name()));
      table.attention_f32(c.Args(f32.kv(), found, 0, c.rows));
      ExpectSameBits(expected_f32, found, fmt::format("{} {}", table.name, c.Name()));
    }
  }
}

// x as int8 times max|x| / 127.
struct Rounded {
  std::vector<double> q;
  double scale;

  Rounded(const float* x, int64_t n) : q(Size(n)) {
    float max = 0;
    for (int64_t i = 0; i < n; ++i) max = std::max(max, std::fabs(x[i]));
    const float step = max > 0 ? max / 127 : 1;
    for (int64_t i = 0; i < n; ++i) q[Size(i)] = std::nearbyint(x[i] / step);
    scale = step;
  }
};

double Dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

std::vector<double> Softmax(std::vector<double> scores) {
  const double max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& s : scores) sum += s = std::exp(s - max);
  for (double& s : scores) s /= sum;
  return scores;
}

TEST(AttentionI8, ScalarIsTheFormula) {
  for (const Case& c : Cases()) {
    CacheI8 cache(c.capacity, c.dim);
    c.Fill(cache.kv(), Scalar().append_kv_i8);
    std::vector<float> out(c.queries.size());
    const AttentionArgs<KvI8> args = c.Args(cache.kv(), out, 0, c.rows);
    Scalar().attention_i8(args);
    std::vector<Rounded> keys, values;
    for (int64_t p = 0; p < c.depth; ++p) {
      std::vector<float> key(c.keys.data() + p * c.head_dim, c.keys.data() + (p + 1) * c.head_dim);
      for (int64_t d = 0; d < c.head_dim; ++d) key[Size(d)] -= c.Offset(p, d);
      keys.emplace_back(key.data(), c.head_dim);
      values.emplace_back(c.values.data() + p * c.head_dim, c.head_dim);
    }
    for (int64_t i = 0; i < c.rows * c.heads; ++i) {
      const Rounded query(c.queries.data() + i * c.head_dim, c.head_dim);
      const size_t attended = Size(c.End(i / c.heads));
      std::vector<double> weights(attended, -kInfinity);
      for (size_t p = Size(c.Begin(i / c.heads)); p < attended; ++p) {
        weights[p] =
            c.Cap(Dot(query.q, keys[p].q) * query.scale * keys[p].scale * args.softmax_scale) +
            c.Alibi(i, static_cast<int64_t>(p));
        const float* offset = c.key_offsets().At(static_cast<int64_t>(p) / kKvSection);
        const float* q = c.queries.data() + i * c.head_dim;
        for (int64_t d = 0; offset != nullptr && d < c.head_dim; ++d) {
          weights[p] += double{q[d]} * offset[d] * args.softmax_scale;
        }
      }
      weights = Softmax(weights);
      std::vector<double> sums(Size(c.head_dim)), bounds(sums.size()), block(sums.size());
      for (size_t begin = 0; begin < attended; begin += kKvBlock) {
        double largest = 0;
        std::ranges::fill(block, 0);
        for (size_t p = begin; p < std::min(attended, begin + kKvBlock); ++p) {
          const double weight = weights[p] * values[p].scale, *q = values[p].q.data();
          largest = std::max(largest, weight);
          for (size_t d = 0; d < sums.size(); ++d) {
            sums.data()[d] += weight * q[d];
            block.data()[d] += std::fabs(q[d]);
          }
        }
        // Each weight is off by half a step at most.
        for (size_t d = 0; d < sums.size(); ++d) bounds[d] += largest / 255 / 2 * block[d];
      }
      for (size_t d = 0; d < sums.size(); ++d) {
        // Beside that the rounding of floats: of the scores (|score| < 100, so 100 ulps) and what
        // follows.
        EXPECT_NEAR(out[Size(i * c.head_dim) + d], sums[d], bounds[d] * 1.0001 + 2e-5)
            << c.Name() << " query " << i << " dim " << d;
      }
    }
  }
}

TEST(AttentionF32, ScalarIsTheFormula) {
  for (const Case& c : Cases()) {
    CacheF32 cache(c.capacity, c.dim);
    c.Fill(cache.kv(), Scalar().append_kv_f32);
    std::vector<float> out(c.queries.size());
    const AttentionArgs<KvF32> args = c.Args(cache.kv(), out, 0, c.rows);
    Scalar().attention_f32(args);
    const auto rows = [&](const std::vector<float>& x) {
      std::vector<std::vector<double>> result;
      for (auto at = x.begin(); at != x.end(); at += c.head_dim) {
        result.emplace_back(at, at + c.head_dim);
      }
      return result;
    };
    const auto queries = rows(c.queries), keys = rows(c.keys), values = rows(c.values);
    for (int64_t i = 0; i < c.rows * c.heads; ++i) {
      const int64_t attended = c.End(i / c.heads);
      std::vector<double> weights(Size(attended), -kInfinity), expected(Size(c.head_dim));
      for (int64_t p = c.Begin(i / c.heads); p < attended; ++p) {
        weights[Size(p)] =
            c.Cap(Dot(queries[Size(i)], keys[Size(p)]) * args.softmax_scale) + c.Alibi(i, p);
      }
      weights = Softmax(weights);
      for (int64_t p = c.Begin(i / c.heads); p < attended; ++p) {
        const double weight = weights[Size(p)], *value = values[Size(p)].data();
        for (size_t d = 0; d < expected.size(); ++d) expected.data()[d] += weight * value[d];
      }
      for (size_t d = 0; d < expected.size(); ++d) {
        // Scores are below 100 and each off by some 100 ulps of 2^-24, so are the weights; values
        // are below 5.
        EXPECT_NEAR(out[Size(i * c.head_dim) + d], expected[d], 5e-5) << c.Name();
      }
    }
  }
}

}  // namespace
}  // namespace fptq
