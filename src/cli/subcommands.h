// The subcommands: main.cc has the table. argv[0] is the subcommand's name; the result is the exit
// status.
#pragma once

#include <string_view>

namespace fptq {

struct Subcommand {
  std::string_view name;
  std::string_view help;
  int (*run)(int argc, char** argv);
};

int RunQuantize(int argc, char** argv);
int RunPlan(int argc, char** argv);
int RunCompare(int argc, char** argv);
int RunInspect(int argc, char** argv);
int RunRun(int argc, char** argv);
int RunServe(int argc, char** argv);
int RunPerplexity(int argc, char** argv);
int RunEval(int argc, char** argv);
int RunReport(int argc, char** argv);
int RunBench(int argc, char** argv);

}  // namespace fptq
