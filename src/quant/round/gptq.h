// GPTQ and descent: 4-bit weights that keep the output of a linear rather than its weights.
#pragma once

#include "base/thread_pool.h"
#include "model/weights/float_layer.h"
#include "quant/round/group_quant.h"
#include "quant/round/output_error.h"

namespace fptq {

// Minimizes tr(E H E^T) over the 4-bit q and the scales of the groups of a linear:
//  1. scales by QuantizeGroups with the diagonal of H, and q by GPTQ with these scales: channels in
//     their order, each rounded after the errors of those before it are made up for; or plain
//     rounding for the output channels where that is better;
//  2. `sweeps` times over all groups: the best scale of a group for its q, then the best q of each
//     of its channels, all others being fixed. No step raises the error.
// Zero points remain as QuantizeGroups found them. The groups' size is that of `error`.
// The result depends neither on the number of threads nor on the ISA.
GroupQuantized RoundGptq(const SourceLinear& linear, const OutputError& error, int sweeps,
                         const GroupFormat& format, ThreadPool& pool);

// Of all recipes. 8 would take another 1.2 % off the squared error on the text that calibrates
// (SmolLM2-135M).
inline constexpr int kGptqSweeps = 3;

// What RoundGptq does, in multiply-adds of the float GEMM, for each weight and each channel of its
// input; the rest is small beside it.
double GptqGemmPasses(int sweeps);

}  // namespace fptq
