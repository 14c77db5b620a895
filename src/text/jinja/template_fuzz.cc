#include "base/error.h"
#include "base/fuzz/target.h"
#include "base/json.h"
#include "text/jinja/template.h"
#include "text/jinja/text.h"

namespace fptq::jinja {

// A template, with what chat templates find by name.
FPTQ_FUZZ_TARGET(jinja, kBytes) {
  static const Json variables = ParseJson(
      R"({"messages": [{"role": "system", "content": "Be \u00e4 brief."},
                       {"role": "user", "content": " Hello <|im_end|> "},
                       {"role": "assistant", "content": "Hi"},
                       {"role": "user", "content": ""}],
          "tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": 1}}}],
          "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "n": 7,
          "f": -1.5, "none": null})",
      "variables");
  const Template parsed = Template::Parse(input, "file");
  const auto make = [&](Heap& heap) {
    Template::Variables result;
    for (const auto& [name, value] : variables.items()) {
      result.emplace_back(name, heap.FromJson(value, Origin::kUser));
    }
    return result;
  };
  // Less than the default, so that much is tried in little time.
  const Limits limits = {.work = int64_t{1} << 22, .memory = int64_t{1} << 24};
  parsed.Render(make, {.limits = limits, .now = std::tm{}});
}

}  // namespace fptq::jinja
