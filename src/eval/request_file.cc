#include "eval/request_file.h"

#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "base/rethrow.h"
#include "eval/text_lines.h"

namespace fptq {
namespace {

constexpr int64_t kUnconditionalIds = 1'000'000;
// Of all contexts and continuations: more than any real file has.
constexpr size_t kMaxBytes = size_t{1} << 30;

struct Line {
  int64_t doc_id = 0, index = 0;
  int64_t label = -1;  // -1: not a number
  EvalRequest request;
};

Line ParseLine(const std::string& text, const std::string& where) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const Json json = ParseJson(text, where);
  const JsonFields fields(json, where);
  const JsonFields request(fields.Object("request"), where + ": request");
  const bool has_label = fields.Has("label") && json.at("label").is_number_integer();
  Line line{.doc_id = fields.Int("doc_id", 0, kMax),
            .index = fields.Int("idx", 0, kMax),
            .label = has_label ? fields.Int("label", 0, kMax) : -1,
            .request = {.context = request.String("context"),
                        .continuation = request.String("continuation")}};
  return line;
}

// Once all its requests are there.
void Finish(EvalDoc& doc, const std::string& where) {
  if (doc.requests.size() == 1) doc.label = 0;
  if (doc.label < 0 || doc.label >= std::ssize(doc.requests)) {
    throw Error("{}: document {}: expected a label from 0 to {}, found {}", where, doc.id,
                doc.requests.size() - 1, doc.label < 0 ? "none" : std::to_string(doc.label));
  }
}

std::vector<EvalDoc> EvenlySpread(std::vector<EvalDoc> docs, int64_t limit) {
  const int64_t count = std::ssize(docs);
  for (int64_t i = 0; i < limit; ++i) {
    const int64_t from = i * count / limit;
    if (from != i) docs[static_cast<size_t>(i)] = std::move(docs[static_cast<size_t>(from)]);
  }
  docs.resize(static_cast<size_t>(limit));
  return docs;
}

}  // namespace

std::vector<EvalDoc> ReadRequestFile(const std::filesystem::path& path, int64_t limit) try {
  std::vector<EvalDoc> docs;
  TextLines lines(path);
  std::string text;
  size_t bytes = 0;
  while (lines.Next(text)) {
    Line line = ParseLine(text, lines.where());
    if (line.doc_id >= kUnconditionalIds) continue;
    bytes += line.request.context.size() + line.request.continuation.size();
    if (bytes > kMaxBytes) throw Error("{}: more than {} bytes of text", lines.where(), kMaxBytes);
    if (docs.empty() || line.doc_id != docs.back().id) {
      if (!docs.empty()) Finish(docs.back(), path.string());
      docs.push_back({.id = line.doc_id, .requests = {}, .label = line.label});
    }
    EvalDoc& doc = docs.back();
    if (line.index != std::ssize(doc.requests) || line.label != doc.label) {
      throw Error("{}: expected idx {} and the label of the requests before it, found idx {}",
                  lines.where(), doc.requests.size(), line.index);
    }
    doc.requests.push_back(std::move(line.request));
  }
  if (docs.empty()) throw Error("{}: expected at least one request", path.string());
  Finish(docs.back(), path.string());
  return limit > 0 && limit < std::ssize(docs) ? EvenlySpread(std::move(docs), limit) : docs;
} catch (...) {
  RethrowNaming(path.string());
}

}  // namespace fptq
