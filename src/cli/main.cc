#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "base/build.h"
#include "base/error.h"
#include "cli/interrupt.h"
#include "cli/manual.h"
#include "cli/subcommands.h"
#include "cli/terminal.h"
#include "kernels/dispatch.h"

namespace fptq {
namespace {

constexpr Subcommand kSubcommands[] = {
    {"quantize", "turn a float model into an FPTQ W4A8 model", RunQuantize},
    {"plan", "show what quantize would decide for each layer, write nothing", RunPlan},
    {"compare", "quantize by several recipes and compare the results", RunCompare},
    {"inspect", "show a model's config, tensors, bits per weight and policy", RunInspect},
    {"run", "generate text or chat", RunRun},
    {"serve", "answer clients of OpenAI's API, and a page to chat", RunServe},
    {"perplexity", "measure how well a model predicts a text", RunPerplexity},
    {"eval", "measure how well a model answers questions", RunEval},
    {"report", "write a page that explains a quantized model", RunReport},
    {"bench", "measure the speed of prefill and decode", RunBench},
};

std::string Help() {
  std::string help =
      "FPTQ: W4A8 post-training quantization of language models, and running them\n\n"
      "usage: fptq SUBCOMMAND [OPTIONS]\n\n";
  for (const Subcommand& s : kSubcommands) help += fmt::format("  {:<12} {}\n", s.name, s.help);
  help +=
      "\n  fptq SUBCOMMAND --help   shows its options\n"
      "  fptq --version           prints the version and the kernels in use\n"
      "  fptq --manual            prints the manual page, all options of all subcommands\n"
      "  fptq --bash-completion   prints what bash reads to complete command lines\n";
  return help;
}

int Dispatch(int argc, char** argv) {
  const std::string_view name = argc < 2 ? "" : argv[1];
  if (name == "--version") {
    Print(fmt::format("fptq {} ({})\n", kVersion, Kernels().name));
    return 0;
  }
  if (name == "--manual") {
    Print(ManualPage(kSubcommands));
    return 0;
  }
  if (name == "--bash-completion") {
    Print(BashCompletion(kSubcommands));
    return 0;
  }
  if (name == "--help" || name == "-h") {
    Print(Help());
    return 0;
  }
  for (const Subcommand& s : kSubcommands) {
    if (s.name == name) return s.run(argc - 1, argv + 1);
  }
  std::string names;
  for (const Subcommand& s : kSubcommands)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", s.name);
  throw Error("expected a subcommand ({}), found '{}'; see fptq --help", names, name);
}

int Fail(std::string_view message) {
  fmt::print(stderr, "fptq: error: {}\n", OneLine(message));
  return 1;
}

// Called where nothing can be thrown any more, as in the destructors of JSON, which allocate. If
// memory ran out there, that is said as elsewhere; outputs are as after a kill.
[[noreturn]] void Terminate() {
  try {
    if (std::current_exception() != nullptr) throw;
  } catch (const std::bad_alloc&) {
    std::fputs("fptq: error: out of memory\n", stderr);
    std::_Exit(1);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "fptq: terminated: %s\n", e.what());
  }
  std::abort();
}

}  // namespace
}  // namespace fptq

int main(int argc, char** argv) {
  std::set_terminate(fptq::Terminate);
  std::signal(SIGPIPE, SIG_DFL);  // `fptq inspect DIR | head` ends silently
  fptq::ExitOnInterrupt();
  try {
    return fptq::Dispatch(argc, argv);
  } catch (const fptq::Interrupted&) {
    return fptq::kInterruptedStatus;
  } catch (const std::bad_alloc&) {
    return fptq::Fail("out of memory");
  } catch (const std::exception& e) {
    return fptq::Fail(e.what());
  }
}
