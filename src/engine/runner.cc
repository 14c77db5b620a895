#include "engine/runner.h"

#include "base/error.h"

namespace fptq {

Runner::Runner(const Model& model, const RunnerOptions& options, ThreadPool& pool)
    : model_(model),
      pool_(pool),
      slot_pages_(PagesFor(options.positions)),
      cache_(model.config(), options.kv_type.value_or(model.kv_type()),
             CheckedMultiply(options.slots, slot_pages_, "KV cache"),
             options.layers > 0 ? options.layers : model.config().layers),
      pages_(PageRange(0, cache_.pages())),
      activations_(model.config(), options.rows, options.logits_rows, options.sections) {}

std::span<const int32_t> Runner::Table(int64_t slot) const {
  return std::span(pages_).subspan(static_cast<size_t>(slot * slot_pages_),
                                   static_cast<size_t>(slot_pages_));
}

std::span<float> Runner::Run(const ForwardBatch& batch) {
  Forward(model_, batch, cache_, pool_, activations_);
  return activations_.logits.span().first(
      static_cast<size_t>(batch.logits_rows() * model_.config().vocab));
}

std::span<float> Runner::Logits(int64_t row) {
  const auto vocab = static_cast<size_t>(model_.config().vocab);
  return activations_.logits.span().subspan(static_cast<size_t>(row) * vocab, vocab);
}

}  // namespace fptq
