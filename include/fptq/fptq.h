// All of the library.
#pragma once

#include <string>

#include "fptq/error.h"
#include "fptq/evaluate.h"
#include "fptq/inside.h"
#include "fptq/llm.h"
#include "fptq/quantize.h"
#include "fptq/serve.h"
#include "fptq/tokenizer.h"

namespace fptq {

// "0.2.0 (a1b2c3d)", and which kernels this processor is given: "avx512vnni".
FPTQ_API std::string Version();
FPTQ_API std::string KernelName();

}  // namespace fptq
