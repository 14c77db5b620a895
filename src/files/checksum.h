// CRC-32: tells files that were torn or changed by accident.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace fptq {

// Of `bytes` after those whose checksum is `before`.
uint32_t Checksum(std::span<const std::byte> bytes, uint32_t before = 0);
uint32_t Checksum(std::string_view text);

}  // namespace fptq
