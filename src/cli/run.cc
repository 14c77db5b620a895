#include <unistd.h>

#include <iostream>
#include <iterator>
#include <optional>
#include <random>
#include <string>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/chat.h"
#include "cli/chat_option.h"
#include "cli/generate.h"
#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/subcommands.h"
#include "engine/stop.h"
#include "files/text_file.h"

namespace fptq {
namespace {

constexpr int64_t kDefaultContext = 4096;

struct RunOptions {
  std::string path, pre_tokenizer;
  FloatForm form = FloatForm::kFloat32;
  std::optional<std::string> prompt, system, chat_template;
  std::optional<uint64_t> seed;
  bool chat = false;
  int64_t context = 0;
  int threads = 1;
  GenerateOptions generate;
};

void AddOptions(CLI::App& app, RunOptions& o) {
  SamplerOptions& s = o.generate.sampling;
  app.add_option("MODEL", o.path,
                 "quantized folder, or float model: Hugging Face folder or GGUF file")
      ->required();
  app.add_option("-p,--prompt", o.prompt,
                 "text to go on from (default: standard input); with --chat the first message");
  app.add_option("-n,--max-tokens", o.generate.max_tokens,
                 "most tokens to generate, in a chat per answer (default 256)")
      ->check(Between(int64_t{1}, kAnyCount));
  app.add_flag("--chat", o.chat, "talk: a message a line, with history");
  app.add_option("--system", o.system, "system message of the chat");
  app.add_option("--chat-template", o.chat_template, kChatTemplateHelp);
  app.add_option("--temperature", s.temperature, "0: always the most probable token (default 0.7)")
      ->check(Between(0.0, 100.0));
  app.add_option("--top-k", s.top_k, "draw from the K most probable tokens, 0: all (default 40)")
      ->check(Between(int64_t{0}, kAnyCount));
  app.add_option("--top-p", s.top_p,
                 "draw from the fewest tokens that have this probability (default 0.95)")
      ->check(Between(0.0, 1.0));
  app.add_option("--min-p", s.min_p,
                 "leave out tokens this much less probable than the best (default 0)")
      ->check(Between(0.0, 1.0));
  app.add_option("--repeat-penalty", s.repeat_penalty,
                 "penalty of the last 64 tokens, 1: none (default 1)")
      ->check(Between(0.01, 100.0));
  app.add_option("--presence-penalty", s.presence_penalty,
                 "taken from the logits of tokens that the answer has (default 0)")
      ->check(Between(-2.0, 2.0));
  app.add_option("--frequency-penalty", s.frequency_penalty,
                 "the same, as often as the answer has them (default 0)")
      ->check(Between(-2.0, 2.0));
  app.add_option("--stop", o.generate.stop_strings,
                 "text that ends the answer, and is no part of it; may be given several times")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  app.add_option("--seed", o.seed, "of the draws (default: another one each time)");
  app.add_option("--context", o.context,
                 "most tokens of prompt and answer (default 4096, or less if the model has less)")
      ->check(Between(int64_t{1}, kAnyCount));
  AddPreTokenizer(app, o.pre_tokenizer);
  AddActivations(app, o.form);
  AddThreads(app, o.threads);
}

std::string PromptFromStandardInput() {
  if (isatty(STDIN_FILENO) == 1)
    throw Error("run: no prompt: give -p TEXT, --chat, or pipe a text in");
  const std::string input(std::istreambuf_iterator<char>(std::cin), {});
  std::string_view text = Utf8Text(input, "standard input");
  for (const char c : {'\n', '\r'}) {  // one end of a line
    if (text.ends_with(c)) text.remove_suffix(1);
  }
  return std::string(text);
}

int Complete(Engine& engine, const RunOptions& options) {
  const std::string prompt = options.prompt ? *options.prompt : PromptFromStandardInput();
  const std::vector<int32_t> tokens =
      engine.model().tokenizer.Encode(prompt, {.parse_special = true, .add_prefix = true});
  const Generation answer = GenerateToOutput(engine, tokens, options.generate);
  NoteTimings(answer.timings);
  return answer.stop == FinishReason::kCancelled ? kInterruptedStatus : 0;
}

}  // namespace

int RunRun(int argc, char** argv) {
  CLI::App app("Generates text from a prompt, or chats.", "fptq run");
  RunOptions options;
  AddOptions(app, options);
  if (!ParseArguments(app, argc, argv)) return 0;
  if (!options.chat && (options.system || options.chat_template)) {
    throw Error("run: {} is for --chat", options.system ? "--system" : "--chat-template");
  }
  StopMatcher(options.generate.stop_strings);  // says now what is wrong with them
  options.generate.sampling.seed = options.seed ? *options.seed : std::random_device()();

  ThreadPool pool(options.threads);
  const auto model =
      LoadModelAndWarn(Locate(options.path, options.pre_tokenizer), pool, options.form);
  Engine engine(model, pool, ChooseContext(options.context, kDefaultContext, model->config()));
  if (!options.chat) return Complete(engine, options);
  Chat chat(engine, ChooseChatFormat(options.chat_template, *model, options.path), options.generate,
            options.system);
  return chat.Run(options.prompt);
}

}  // namespace fptq
