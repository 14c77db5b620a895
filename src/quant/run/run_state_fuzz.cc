#include <fmt/format.h>

#include "base/error.h"
#include "base/fuzz/target.h"
#include "base/test_paths.h"
#include "files/checksum.h"
#include "quant/run/run_state.h"

namespace fptq {

// {"records": [...], "tensors": bytes in the spool, "run": {...}}: the journal of an interrupted
// run, with right checksums, and what goes on with it.
FPTQ_FUZZ_TARGET(run_state, kJson) {
  static const FuzzFolder folder;
  static const ModelConfig config =
      ModelSource::Open(std::filesystem::path(kTestdata) / "models/tiny-llama-f32").config();
  const Json json = ParseJson(input, "input");
  const JsonFields fields(json, "input");
  std::string journal;
  for (const Json& record : fields.Array("records")) {
    const std::string text = record.dump();
    journal += fmt::format("{:08x} {}\n", Checksum(text), text);
  }
  // The fingerprint is this run's own, so it has all of its fields.
  const Json& run = fields.Object("run");
  for (const char* name : {"build", "recipe", "calibration_text", "config", "tokenizer"}) {
    if (!run.contains(name)) return;
  }
  JsonFields(JsonFields(run, "run").Object("recipe"), "recipe").String("calibration");
  JsonFields(run, "run").Array("weights");
  folder.Clear();
  folder.Write("journal", journal);
  folder.Write("tensors", std::string(static_cast<size_t>(fields.Int("tensors", 0, 1 << 16)), 'x'));
  RunState(folder.path(), config, run, /*restart=*/false);
}

}  // namespace fptq
