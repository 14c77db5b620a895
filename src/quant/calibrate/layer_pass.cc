#include "quant/calibrate/layer_pass.h"

#include "model/model.h"

namespace fptq {
namespace {

// Calls run(part, rows, sites, advance) for each part, where advance(observer) runs it over `rows`
// rows; its weights go with this call.
template <typename Run>
void ForEachPart(const ModelSource& source, int64_t layer, HiddenStates& hidden, ThreadPool& pool,
                 Run run) {
  const ModelConfig& config = source.config();
  const std::vector<SiteId> sites = SitesOf(config, layer);
  if (!config.is_mixture(layer)) {
    run(LayerPart{.layer = layer}, hidden.TokenCount(), sites, [&](ActivationObserver* observer) {
      hidden.Advance(ReadFloatLayer(source, layer, pool), layer, observer);
    });
    return;
  }
  const std::vector<SiteId> first = {ActSite::kAttnIn, ActSite::kAttnOut, ActSite::kMlpIn};
  run(LayerPart{.layer = layer}, hidden.TokenCount(), first, [&](ActivationObserver* observer) {
    hidden.AdvanceAttention(ReadFloatAttention(source, layer, pool), layer, observer);
  });
  for (const MlpId mlp : MlpsOf(config, layer)) {
    const std::vector<SiteId> mid = {SiteId(ActSite::kMlpMid, mlp)};
    run(LayerPart{.layer = layer, .mlp = mlp}, hidden.RowsOf(mlp), mid,
        [&](ActivationObserver* observer) {
          hidden.AdvanceMlp(ReadFloatMlp(source, layer, mlp, pool), layer, mlp, observer);
        });
  }
  hidden.FinishMixture(source.ReadNorms(layer).at(NormRole::kMlpOut));
}

}  // namespace

SourceLayer ReadPart(const ModelSource& source, const LayerPart& part) {
  if (part.mlp) return ReadMlp(source, part.layer, *part.mlp);
  return source.config().is_mixture(part.layer) ? ReadAttention(source, part.layer)
                                                : ReadLayer(source, part.layer);
}

void RunLayer(const ModelSource& source, int64_t layer, ObserverOptions options,
              HiddenStates& hidden, ThreadPool& pool,
              FunctionRef<void(const LayerPart&, LayerStatistics&)> take) {
  ForEachPart(
      source, layer, hidden, pool,
      [&](const LayerPart& part, int64_t rows, const std::vector<SiteId>& sites, auto advance) {
        options.rows = rows;
        LayerStatistics statistics;
        {
          LayerObserver observer(source.config(), sites, options, pool);
          advance(&observer);
          statistics = observer.Finish(layer);
        }
        source.checkpoint().ReleasePages();
        take(part, statistics);
      });
}

void RunLayer(const ModelSource& source, int64_t layer, HiddenStates& hidden, ThreadPool& pool) {
  ForEachPart(source, layer, hidden, pool,
              [&](const LayerPart&, int64_t, const std::vector<SiteId>&, auto advance) {
                advance(nullptr);
                source.checkpoint().ReleasePages();
              });
}

}  // namespace fptq
