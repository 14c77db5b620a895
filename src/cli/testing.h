// Runs the program as a user does.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/test_paths.h"
#include "base/test_util.h"

namespace fptq {

struct Result {
  int status = 0;
  std::string out, err;
};

inline std::string Tiny(std::string_view name) {
  return (std::filesystem::path(kTestdata) / "models" / name).string();
}

// Starts fptq with its input and outputs in files and returns its process id.
inline pid_t Start(const std::vector<std::string>& args, int in, const std::string& out,
                   const std::string& err) {
  const pid_t child = fork();
  if (child != 0) return child;
  dup2(in, STDIN_FILENO);
  dup2(open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
  dup2(open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
  std::vector<char*> argv = {const_cast<char*>("fptq")};
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  execv(kBinary, argv.data());
  _exit(127);
}

inline int Wait(pid_t child) {
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

inline Result Fptq(const std::vector<std::string>& args, std::string_view input = "") {
  const TempFolder folder;
  const int in = open(folder.Write("in", input).c_str(), O_RDONLY);
  const pid_t child = Start(args, in, folder / "out", folder / "err");
  close(in);
  const int status = Wait(child);
  return {.status = status, .out = ReadFile(folder / "out"), .err = ReadFile(folder / "err")};
}

inline Result Succeed(const std::vector<std::string>& args, std::string_view input = "") {
  const Result result = Fptq(args, input);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.err.find('\x1b'), std::string::npos) << "no progress bar without a terminal";
  return result;
}

// Status 1 and one line that has `part` in it.
inline void Fail(std::string_view part, const std::vector<std::string>& args,
                 std::string_view input = "") {
  const Result result = Fptq(args, input);
  EXPECT_EQ(result.status, 1) << part;
  EXPECT_TRUE(result.err.starts_with("fptq: error: ")) << result.err;
  EXPECT_NE(result.err.find(part), std::string::npos)
      << "expected " << part << ", found " << result.err;
  EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
  EXPECT_EQ(result.out, "");
}

}  // namespace fptq
