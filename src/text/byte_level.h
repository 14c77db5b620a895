// GPT-2's alphabet: every byte is written as one printable character, so that a vocabulary of byte
// strings is text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fptq {

// The character that stands for `byte`, in UTF-8.
const std::string& ByteLevelCharacter(uint8_t byte);

// The bytes that `token` stands for; none if it has a character outside the alphabet.
std::optional<std::string> ByteLevelDecode(std::string_view token);

}  // namespace fptq
