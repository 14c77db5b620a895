// Where the time of a forward pass goes.
#pragma once

#include <array>
#include <chrono>
#include <string_view>

namespace fptq {

// In the order in which a forward pass comes to them.
enum class ForwardPart {
  kEmbedding,
  kNormQuantize,  // of the input of qkv and of gate/up, and quantization of that of o
  kQkv,
  kRopeAppend,
  kAttention,
  kAttnOut,
  kRouter,  // of a mixture, and the norm before it
  kGateUp,
  kSiluQuantize,
  kDown,
  kHead,
};
inline constexpr std::array<std::string_view, 11> kForwardPartNames = {
    "embedding", "norm+quantize", "qkv",           "rope+KV append", "attention", "o",
    "router",    "gate/up",       "silu+quantize", "down",           "head"};

// Wall time by part, on the thread that calls the forward pass: waiting for the others is in it.
struct Profile {
  using Clock = std::chrono::steady_clock;

  std::array<double, kForwardPartNames.size()> seconds = {};
  Clock::time_point last = {};

  void Start() { last = Clock::now(); }
  // The time since the last call belongs to `part`.
  void Stamp(ForwardPart part) {
    const Clock::time_point now = Clock::now();
    seconds[static_cast<size_t>(part)] += std::chrono::duration<double>(now - last).count();
    last = now;
  }
};

}  // namespace fptq
