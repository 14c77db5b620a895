// Which kernels run here.
#pragma once

#include <span>
#include <string_view>

#include "kernels/kernels.h"

namespace fptq {

// The table in use: the best one that the CPU supports, or the one that FPTQ_ISA names. Decided at
// the first call; Error if FPTQ_ISA names a table that does not exist or that this CPU cannot run.
const KernelTable& Kernels();

// All tables, complete (null entries filled in), that this CPU can run, best first; scalar is the
// last.
std::span<const KernelTable> SupportedKernels();

// The rule behind Kernels(): `forced` is empty for "the best".
const KernelTable& ChooseKernels(std::string_view forced);

}  // namespace fptq
