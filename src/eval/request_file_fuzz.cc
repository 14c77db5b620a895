#include <zlib.h>

#include "base/error.h"
#include "base/fuzz/target.h"
#include "eval/answer_file.h"
#include "eval/request_file.h"

namespace fptq {
namespace {

// With an odd first byte what follows it is written as gzip, else as it is.
std::filesystem::path WriteInput(const FuzzFolder& folder, std::string_view input) {
  if (input.empty() || input[0] % 2 == 0) return folder.Write("file", input.substr(!input.empty()));
  input.remove_prefix(1);
  const std::filesystem::path path = folder.path() / "file";
  const gzFile file = gzopen(path.c_str(), "wb1");
  FPTQ_CHECK(file != nullptr);
  if (!input.empty()) gzwrite(file, input.data(), static_cast<unsigned>(input.size()));
  FPTQ_CHECK(gzclose(file) == Z_OK);
  return path;
}

}  // namespace

FPTQ_FUZZ_TARGET(request_file, kBytes) {
  static const FuzzFolder folder;
  const std::filesystem::path path = WriteInput(folder, input);
  for (const EvalDoc& doc : ReadRequestFile(path, /*limit=*/0)) {
    FPTQ_CHECK(!doc.requests.empty());
  }
  FPTQ_CHECK(ReadRequestFile(path, /*limit=*/2).size() <= 2);
}

FPTQ_FUZZ_TARGET(answer_file, kBytes) {
  static const FuzzFolder folder;
  const AnswerFile answers(WriteInput(folder, input));
  const EvalDoc doc = {.id = 7, .requests = {{}, {}}, .label = 0};
  answers.Find("piqa", /*shots=*/0, {&doc, 1});
}

}  // namespace fptq
