#include "cli/generate.h"

#include <fmt/format.h>

#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace fptq {

Generation GenerateToOutput(Engine& engine, std::span<const int32_t> prompt,
                            GenerateOptions options) {
  const InterruptScope interrupt(/*second_press_exits=*/true);
  options.cancel = &interrupt.pressed();
  const Generation answer =
      engine.Generate(prompt, options, [](std::string_view text) { Print(text); });
  Print("\n");
  switch (answer.stop) {
    case FinishReason::kStopToken:
    case FinishReason::kStopString:
    case FinishReason::kCancelled:
    case FinishReason::kDeadline:  // has none
    case FinishReason::kError:     // thrown
      break;
    case FinishReason::kMaxTokens:
      Note(fmt::format("[stopped: {} tokens, the most that -n allows]\n", options.max_tokens));
      break;
    case FinishReason::kContextFull:
      Note(fmt::format("[stopped: the context of {} tokens is full]\n", engine.context()));
      break;
  }
  return answer;
}

void NoteTimings(const Timings& timings) {
  Note(fmt::format("[prompt: {} tokens, {:.1f} tokens/s; decode: {} tokens, {:.1f} tokens/s]\n",
                   timings.prompt_tokens, timings.prompt_rate(), timings.decode_tokens,
                   timings.decode_rate()));
}

}  // namespace fptq
