// Who wrote which part of a text.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fptq {

enum class Origin : uint8_t {
  kTemplate,  // the chat template, whose control tokens count
  kModel,     // an earlier answer of the model
  kUser,      // whoever sent the messages, tools, documents or variables
};

// The bytes from the end of the passage before up to `end`.
struct Passage {
  size_t end;
  Origin origin;

  bool operator==(const Passage&) const = default;
};

}  // namespace fptq
