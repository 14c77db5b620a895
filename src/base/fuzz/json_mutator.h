// Mutations of JSON that stay JSON, so that fuzzing reaches what comes after the parser.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace fptq {

// Changes a few values of `text`. `words` are names of fields and strings to try, `mutate_bytes`
// changes strings (LLVMFuzzerMutate). nullopt if `text` is not JSON.
std::optional<std::string> MutateJson(std::string_view text, std::span<const std::string> words,
                                      unsigned seed,
                                      size_t (*mutate_bytes)(uint8_t*, size_t, size_t));

// Puts a value of `other` in the place of one of `text`, preferably of the same name. nullopt if
// one of the two is not JSON.
std::optional<std::string> CrossJson(std::string_view text, std::string_view other, unsigned seed);

}  // namespace fptq
