// Progress of long work, reported without knowing who shows it.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace fptq {

// Called now and then with what is going on ("calibrating", "quantizing") and how far it is. May
// throw to cancel.
using Progress = std::function<void(std::string_view stage, int64_t done, int64_t total)>;

}  // namespace fptq
