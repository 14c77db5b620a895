// Exceptions of others as errors of ours.
#pragma once

#include <string_view>

namespace fptq {

// Rethrows the exception that is being handled: an Error as it is; one of the standard library or a
// library of ours, be it that memory has run out, as an Error that begins with `where`, the file
// whose content was worked on.
[[noreturn]] void RethrowNaming(std::string_view where);

}  // namespace fptq
