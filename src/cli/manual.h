// The manual page and the completion for shells, made of the same options as the help.
#pragma once

#include <span>
#include <string>

#include "cli/subcommands.h"

namespace fptq {

// fptq(1), as troff reads it.
std::string ManualPage(std::span<const Subcommand> subcommands);

// For bash: subcommands, their options, and files.
std::string BashCompletion(std::span<const Subcommand> subcommands);

}  // namespace fptq
