// Command lines.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "base/thread_pool.h"
#include "cli/subcommands.h"
#include "model/config.h"
#include "model/kv_cache.h"

namespace fptq {

// Parses and returns true; prints the help if it is asked for and returns false. Error for wrong
// usage.
bool ParseArguments(CLI::App& app, int argc, char** argv);

// Calls visit(app) with the options of a subcommand, which does nothing else. Not from two threads.
void VisitOptions(const Subcommand& subcommand, FunctionRef<void(const CLI::App&)> visit);

// For CLI::Option::check(). NaN is in no range.
CLI::Validator Between(int64_t min, int64_t max);
CLI::Validator Between(double min, double max);
inline constexpr int64_t kAnyCount = 1'000'000'000'000;

void AddThreads(CLI::App& app, int& threads);  // sets its default, UsableCores()

// An option that takes int8 or f32; not set: what the model has by default.
CLI::Option* AddKvType(CLI::App& app, const std::string& name, std::optional<KvType>& type,
                       const std::string& whose);

// `context` as given (0: not given, then `otherwise` or less). Error if the model has less.
int64_t ChooseContext(int64_t context, int64_t otherwise, const ModelConfig& config);

}  // namespace fptq
