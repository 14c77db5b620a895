// Answers to evaluation requests in a file, to look at or to compare another model with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "eval/log_likelihood.h"
#include "eval/request_file.h"

namespace fptq {

// A line a request, in their order:
//   {"task": "piqa", "shots": 0, "doc_id": 7, "idx": 0, "log_likelihood": -9.5, "tokens": 3,
//    "greedy": false}
std::string AnswerLines(std::string_view task, int64_t shots, std::span<const EvalDoc> docs,
                        std::span<const LogLikelihood> answers);

class AnswerFile {
 public:
  // Plain or gzip. Error naming the line that is not one of AnswerLines.
  explicit AnswerFile(const std::filesystem::path& path);

  // The answers to the requests of `docs`, document after document. Error naming one that is not in
  // the file.
  std::vector<LogLikelihood> Find(std::string_view task, int64_t shots,
                                  std::span<const EvalDoc> docs) const;

 private:
  using Key = std::tuple<std::string, int64_t, int64_t, int64_t>;  // task, shots, doc_id, idx

  std::string path_;
  std::map<Key, LogLikelihood> answers_;
};

}  // namespace fptq
