// How far a long call is, and its end before its time.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace fptq {

// Called now and then, from the thread that made the call, with what is going on and how far it is.
// False cancels: what is thrown then is an Error of kind kCancelled.
using ProgressCallback = std::function<bool(std::string_view stage, int64_t done, int64_t total)>;

}  // namespace fptq
