// Mixture of experts: rows are gathered by expert, so that the weights of each are read once a
// batch. What experts add to a row is added in their order, so a row does not depend on the others.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/math.h"
#include "model/forward/rows.h"
#include "model/forward/steps.h"

namespace fptq {
namespace {

// The experts of largest score first, ties by number, then the taken ones in their order with the
// softmax of their scores: over all, or, normalized, over the taken ones.
void TakeExperts(const Mixture& mixture, float* scores, int32_t* experts, float* weights) {
  const int64_t count = mixture.experts, active = mixture.active;
  double sum = 0, largest = -std::numeric_limits<double>::infinity();
  bool has_nan = false;
  for (int64_t expert = 0; expert < count; ++expert) {
    experts[expert] = static_cast<int32_t>(expert);
    has_nan |= std::isnan(scores[expert]);
    largest = std::max(largest, double{scores[expert]});
  }
  if (has_nan) std::fill_n(scores, count, std::numeric_limits<float>::quiet_NaN());
  if (!has_nan) {
    std::partial_sort(experts, experts + active, experts + count, [&](int32_t a, int32_t b) {
      return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
    });
  }
  std::sort(experts, experts + active);
  const auto exponential = [&](int64_t expert) { return Exp(double{scores[expert]} - largest); };
  if (mixture.normalized) {
    for (int64_t i = 0; i < active; ++i) sum += exponential(experts[i]);
  } else {
    for (int64_t expert = 0; expert < count; ++expert) sum += exponential(expert);
  }
  for (int64_t i = 0; i < active; ++i) {
    weights[i] = static_cast<float>(exponential(experts[i]) / sum);
  }
}

// From the experts of each row the rows of each expert; all rows are the shared one's.
void GatherRows(const Mixture& mixture, int64_t rows, Routing& routing) {
  const int64_t active = mixture.active;
  std::ranges::fill(routing.begins, size_t{0});
  const auto for_each = [&](auto body) {  // body(row, expert, weight)
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < active; ++i) {
        body(row, static_cast<size_t>(routing.experts[row * mixture.experts + i]),
             routing.weights[row * active + i]);
      }
    }
  };
  // begins[e + 1] becomes the begin of expert e, and moves to its end while its rows are set.
  const auto experts = static_cast<size_t>(mixture.experts);
  for_each([&](int64_t, size_t expert, float) { ++routing.begins[expert + 2]; });
  for (size_t i = 2; i < routing.begins.size(); ++i) routing.begins[i] += routing.begins[i - 1];
  for_each([&](int64_t row, size_t expert, float weight) {
    routing.rows[routing.begins[expert + 1]++] = {row, weight};
  });
  if (mixture.shared_width == 0) return;
  for (int64_t row = 0; row < rows; ++row) {
    const double score = routing.shared_scores[row];
    routing.rows[routing.begins[experts + 1]++] = {row, static_cast<float>(1 / (1 + Exp(-score)))};
  }
}

}  // namespace

Routing::Routing(const ModelConfig& config, int64_t max_rows)
    : begins(static_cast<size_t>(config.mixture.experts + 2)),
      scores(CheckedMultiply(max_rows, config.mixture.experts, "scores of experts")),
      shared_scores(max_rows),
      experts(max_rows * config.mixture.experts),
      weights(max_rows * config.mixture.active) {
  rows.resize(static_cast<size_t>(max_rows * (config.mixture.active + 1)));
}

void RouteRows(const ModelConfig& config, const LayerWeights& weights, int64_t rows,
               ThreadPool& pool, Activations& act) {
  FPTQ_CHECK(rows <= act.max_rows);
  const Norm& norm = weights.norms.at(NormRole::kMlp);
  act.input.saturation = nullptr;
  pool.ParallelFor(rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = act.hidden.data() + row * config.hidden;
      float* normed = act.normed.data() + row * config.hidden;
      if (norm.empty()) {
        std::copy_n(from, config.hidden, normed);
      } else {
        ApplyNorm(norm, config, from, normed);
      }
      act.input.Set(weights.router, row, normed);
    }
  });
  Routing& routing = act.routing;
  Apply(weights.router, act.input, rows, pool, routing.scores.data(), /*accumulate=*/false);
  if (config.mixture.shared_width > 0) {
    Apply(weights.shared_gate, act.input, rows, pool, routing.shared_scores.data(),
          /*accumulate=*/false);
  }
  const Mixture& mixture = config.mixture;
  pool.ParallelFor(rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      TakeExperts(mixture, routing.scores.data() + row * mixture.experts,
                  routing.experts.data() + row * mixture.experts,
                  routing.weights.data() + row * mixture.active);
    }
  });
  GatherRows(mixture, rows, routing);
  Stamp(act, ForwardPart::kRouter);
}

void AddMlp(const ModelConfig& config, const MlpWeights& weights, int64_t layer, MlpId mlp,
            std::span<const RoutedRow> routed, std::span<const float> inputs,
            std::span<float> outputs, ThreadPool& pool, Activations& act,
            ActivationObserver* observer) {
  const int64_t hidden = config.hidden, rows = std::ssize(routed);
  FPTQ_CHECK(rows <= act.max_rows);
  if (rows == 0) return;
  EnterSite(act, config, layer, ActSite::kMlpIn);
  pool.ParallelFor(rows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = routed[static_cast<size_t>(i)].row;
      act.input.Set(weights.gate_up, i, inputs.data() + row * hidden);
    }
  });
  Stamp(act, ForwardPart::kNormQuantize);
  Apply(weights.gate_up, act.input, rows, pool, act.gate_up.data(), /*accumulate=*/false);
  Stamp(act, ForwardPart::kGateUp);

  const SiteId mid(ActSite::kMlpMid, mlp);
  EnterSite(act, config, layer, mid);
  MlpInput(config, weights.down, rows, pool, act);
  Stamp(act, ForwardPart::kSiluQuantize);
  ObserveInput(observer, weights.down, layer, mid, rows, act);
  Apply(weights.down, act.input, rows, pool, act.expert_out.data(), /*accumulate=*/false);
  pool.ParallelFor(rows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto [row, weight] = routed[static_cast<size_t>(i)];
      const float* from = act.expert_out.data() + i * hidden;
      float* to = outputs.data() + row * hidden;
      for (int64_t j = 0; j < hidden; ++j) to[j] += weight * from[j];
    }
  });
  Stamp(act, ForwardPart::kDown);
}

void ForwardMixture(const ModelConfig& config, const LayerWeights& weights, int64_t layer,
                    int64_t rows, ThreadPool& pool, Activations& act,
                    ActivationObserver* observer) {
  RouteRows(config, weights, rows, pool, act);
  const auto size = static_cast<size_t>(rows * config.hidden);
  if (observer != nullptr && !weights.at(ActSite::kMlpIn).TakesInt8()) {
    observer->Observe(layer, ActSite::kMlpIn, act.normed.span().first(size), rows);
  }
  std::fill_n(act.branch.data(), size, 0.0f);
  for (size_t i = 0; i < weights.mlps.size(); ++i) {
    AddMlp(config, weights.mlps[i], layer, MlpAt(config, i), act.routing.RowsOf(i),
           act.normed.span(), act.branch.span(), pool, act, observer);
  }
  AddBranch(config, weights.norms.at(NormRole::kMlpOut), rows, pool, act);
  Stamp(act, ForwardPart::kDown);
}

}  // namespace fptq
