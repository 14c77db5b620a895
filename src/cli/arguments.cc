#include "cli/arguments.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "cli/terminal.h"
#include "machine/limits.h"

namespace fptq {
namespace {

template <typename T>
CLI::Validator RangeValidator(T min, T max, std::string_view noun) {
  return CLI::Validator(
      [=](std::string& text) {
        T value{};
        if (CLI::detail::lexical_cast(text, value) && value >= min && value <= max)
          return std::string();
        if (max == static_cast<T>(kAnyCount))
          return fmt::format("expected {} of at least {}, found '{}'", noun, min, text);
        return fmt::format("expected {} from {} to {}, found '{}'", noun, min, max, text);
      },
      "");
}

// Who wants to see the options instead of having them parsed.
const FunctionRef<void(const CLI::App&)>* visitor = nullptr;

}  // namespace

void VisitOptions(const Subcommand& subcommand, FunctionRef<void(const CLI::App&)> visit) {
  std::string name(subcommand.name);
  char* argv[] = {name.data(), nullptr};
  visitor = &visit;
  subcommand.run(1, argv);
  visitor = nullptr;
}

bool ParseArguments(CLI::App& app, int argc, char** argv) {
  if (visitor != nullptr) {
    (*visitor)(app);
    return false;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    Print(app.help());
    return false;
  } catch (const CLI::ParseError& e) {
    throw Error("{}: {}", argv[0], e.what());
  }
  return true;
}

CLI::Validator Between(int64_t min, int64_t max) {
  return RangeValidator(min, max, "a whole number");
}
CLI::Validator Between(double min, double max) { return RangeValidator(min, max, "a number"); }

void AddThreads(CLI::App& app, int& threads) {
  threads = UsableCores();
  app.add_option("--threads", threads,
                 "threads to compute with (default: the cores that this process may use)")
      ->check(Between(int64_t{1}, int64_t{1024}));
}

CLI::Option* AddKvType(CLI::App& app, const std::string& name, std::optional<KvType>& type,
                       const std::string& whose) {
  const std::map<std::string, KvType> types = {{"int8", KvType::kI8}, {"f32", KvType::kF32}};
  return app.add_option(name, type, whose + ": int8 or f32 (default int8 for a quantized model)")
      ->transform(CLI::CheckedTransformer(types).description(""));
}

int64_t ChooseContext(int64_t context, int64_t otherwise, const ModelConfig& config) {
  if (context > config.max_positions) {
    throw Error("--context: the model has {} positions, found {}", config.max_positions, context);
  }
  return context > 0 ? context : std::min(otherwise, config.max_positions);
}

}  // namespace fptq
