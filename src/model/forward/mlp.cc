#include "kernels/dispatch.h"
#include "model/forward/steps.h"

namespace fptq {
namespace {

void Activate(Activation activation, const ActivationArgs& args) {
  switch (activation) {
    case Activation::kSilu:
      return Kernels().silu(args);
    case Activation::kGeluTanh:
      return Kernels().gelu_tanh(args);
    case Activation::kGelu:
      return Kernels().gelu(args);
    case Activation::kRelu:
      return Kernels().relu(args);
  }
}

}  // namespace

void MlpInput(const ModelConfig& config, const Linear& down, int64_t rows, ThreadPool& pool,
              Activations& act) {
  const int64_t n = down.k();
  const auto gate_up = [&](int64_t row) {
    return config.shared_norm ? act.qkv.data() + row * config.attn_in_outputs() + config.qkv_width()
                              : act.gate_up.data() + row * config.gate_up_width(n);
  };
  pool.ParallelFor(rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* x = gate_up(row);
      Activate(config.activation,
               {.x = x, .up = config.gated_mlp ? x + n : nullptr, .n = n, .out = x});
      act.input.Set(down, row, x);
    }
  });
}

}  // namespace fptq
