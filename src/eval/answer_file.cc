#include "eval/answer_file.h"

#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "eval/text_lines.h"

namespace fptq {

std::string AnswerLines(std::string_view task, int64_t shots, std::span<const EvalDoc> docs,
                        std::span<const LogLikelihood> answers) {
  std::string lines;
  size_t i = 0;
  for (const EvalDoc& doc : docs) {
    for (size_t idx = 0; idx < doc.requests.size(); ++idx, ++i) {
      const Json line = {{"task", task},
                         {"shots", shots},
                         {"doc_id", doc.id},
                         {"idx", idx},
                         {"log_likelihood", answers[i].sum},
                         {"tokens", answers[i].tokens},
                         {"greedy", answers[i].greedy}};
      lines += line.dump() + "\n";
    }
  }
  return lines;
}

AnswerFile::AnswerFile(const std::filesystem::path& path) : path_(path.string()) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  TextLines lines(path);
  std::string text;
  while (lines.Next(text)) {
    const Json json = ParseJson(text, lines.where());
    const JsonFields fields(json, lines.where());
    const Key key = {fields.String("task"), fields.Int("shots", 0, kMax),
                     fields.Int("doc_id", 0, kMax), fields.Int("idx", 0, kMax)};
    answers_[key] = {.sum = fields.Double("log_likelihood"),
                     .tokens = fields.Int("tokens", 0, kMax),
                     .greedy = fields.BoolOr("greedy", false)};
  }
}

std::vector<LogLikelihood> AnswerFile::Find(std::string_view task, int64_t shots,
                                            std::span<const EvalDoc> docs) const {
  std::vector<LogLikelihood> found;
  for (const EvalDoc& doc : docs) {
    for (int64_t idx = 0; idx < std::ssize(doc.requests); ++idx) {
      const auto answer = answers_.find({std::string(task), shots, doc.id, idx});
      if (answer == answers_.end()) {
        throw Error("{}: no answer to {} with {} shots, doc_id {}, idx {}", path_, task, shots,
                    doc.id, idx);
      }
      found.push_back(answer->second);
    }
  }
  return found;
}

}  // namespace fptq
