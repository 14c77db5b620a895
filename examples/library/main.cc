// Quantizes a model, measures what that cost, and lets the result go on with a text:
//   example SOURCE OUTPUT
#include <cstdio>
#include <string>

#include "fptq/fptq.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: example SOURCE OUTPUT\n");
    return 2;
  }
  const std::string text = "The quick brown fox jumps over the lazy dog. The dog does not mind.";
  try {
    const auto summary = fptq::Quantize(
        argv[1], argv[2],
        {.settings_json = R"({"calibration": "random", "calibration_tokens": 256})"});
    std::printf("%.2f bits per weight\n", summary.bits_per_weight);
    const auto quality = fptq::CompareModels(argv[2], argv[1], text);
    std::printf("perplexity ratio %.3f\n", quality.ratio.value);
    fptq::LLM llm(argv[2]);
    fptq::SamplingParams params;
    params.temperature = 0;
    params.max_tokens = 8;
    auto stream = llm.Submit(llm.tokenizer().Encode(text), params);
    while (const auto chunk = stream.Next()) std::fputs(chunk->text.c_str(), stdout);
    std::puts("");
  } catch (const fptq::Error& error) {
    std::fprintf(stderr, "example: error: %s\n", error.what());
    return 1;
  }
}
