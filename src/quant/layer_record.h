// A finished layer as a record of the journal: all numbers come back bit for bit.
#pragma once

#include <span>
#include <vector>

#include "base/json.h"
#include "quant/run_state.h"

namespace fptq {

Json LayerResultToJson(const LayerResult& result);
LayerResult LayerResultFromJson(const Json& json);

Json EntriesToJson(std::span<const TensorSpool::Entry> entries);
std::vector<TensorSpool::Entry> EntriesFromJson(const Json& json);

}  // namespace fptq
