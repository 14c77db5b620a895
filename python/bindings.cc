// fptq._fptq: the public API of include/fptq for Python, as it is. What a Python user sees is made
// of it in fptq/*.py.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <array>

#include "fptq/fptq.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace fptq {
namespace {

// How often a wait looks for Ctrl-C.
constexpr double kSignalSeconds = 0.1;

// What an Error becomes: the exceptions of fptq/errors.py.
void Translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    constexpr std::array kNames = {"InputError", "FileError", "ResourceError", "CancelledError",
                                   "InternalError"};
    const nb::object type =
        nb::module_::import_("fptq.errors").attr(kNames[static_cast<size_t>(error.kind())]);
    PyErr_SetString(type.ptr(), error.what());
  }
}

// Calls body(callback) without the GIL. The callback calls `progress`, a callable or None, and
// looks for Ctrl-C; what Python raises there ends the body and is raised again.
template <typename Body>
auto WithProgress(const nb::object& progress, Body body) {
  std::exception_ptr raised;
  const ProgressCallback callback = [&](std::string_view stage, int64_t done, int64_t total) {
    const nb::gil_scoped_acquire gil;
    try {
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
      if (progress.is_none()) return true;
      const nb::object answer = progress(stage, done, total);
      return answer.is_none() || nb::cast<bool>(answer);
    } catch (...) {
      raised = std::current_exception();
      return false;
    }
  };
  try {
    const nb::gil_scoped_release released;
    return body(callback);
  } catch (const Error&) {
    if (raised) std::rethrow_exception(raised);
    throw;
  }
}

std::optional<Chunk> Next(Stream& stream) {
  while (true) {
    {
      const nb::gil_scoped_release released;
      if (stream.Wait(kSignalSeconds)) return stream.Next();
    }
    if (PyErr_CheckSignals() != 0) {
      stream.Cancel();
      throw nb::python_error();
    }
  }
}

Completion Collect(Stream& stream) {
  while (Next(stream)) {
  }
  return stream.Collect();
}

void BindResults(nb::module_& m) {
  nb::class_<TokenScore::Alternative>(m, "Alternative")
      .def_ro("token", &TokenScore::Alternative::token)
      .def_ro("log_probability", &TokenScore::Alternative::log_probability);
  nb::class_<TokenScore>(m, "TokenScore")
      .def_ro("token", &TokenScore::token)
      .def_ro("log_probability", &TokenScore::log_probability)
      .def_ro("top", &TokenScore::top);
  nb::class_<Completion>(m, "Completion")
      .def_ro("text", &Completion::text)
      .def_ro("tokens", &Completion::tokens)
      .def_ro("scores", &Completion::scores)
      .def_ro("prompt_scores", &Completion::prompt_scores)
      .def_ro("finish_reason", &Completion::finish_reason)
      .def_ro("prompt_tokens", &Completion::prompt_tokens)
      .def_ro("cached_tokens", &Completion::cached_tokens)
      .def("__repr__", [](const Completion& c) {
        return "Completion(text=" + std::string(nb::repr(nb::cast(c.text)).c_str()) +
               ", finish_reason='" + c.finish_reason + "')";
      });
  nb::class_<Chunk>(m, "Chunk")
      .def_ro("text", &Chunk::text)
      .def_ro("tokens", &Chunk::tokens)
      .def_ro("scores", &Chunk::scores);
  nb::class_<ModelInfo>(m, "ModelInfo")
      .def_ro("architecture", &ModelInfo::architecture)
      .def_ro("quantized", &ModelInfo::quantized)
      .def_ro("layers", &ModelInfo::layers)
      .def_ro("hidden", &ModelInfo::hidden)
      .def_ro("vocab", &ModelInfo::vocab)
      .def_ro("positions", &ModelInfo::positions)
      .def_ro("eos_tokens", &ModelInfo::eos_tokens)
      .def_ro("start_token", &ModelInfo::start_token)
      .def_ro("weight_bytes", &ModelInfo::weight_bytes)
      .def_ro("warnings", &ModelInfo::warnings);
  nb::class_<Measured>(m, "Measured")
      .def_ro("value", &Measured::value)
      .def_ro("standard_error", &Measured::standard_error)
      .def("__repr__", [](const Measured& x) {
        return "Measured(value=" + std::to_string(x.value) +
               ", standard_error=" + std::to_string(x.standard_error) + ")";
      });
  nb::class_<PerplexitySummary>(m, "Perplexity")
      .def_ro("perplexity", &PerplexitySummary::perplexity)
      .def_ro("nll", &PerplexitySummary::nll)
      .def_ro("tokens", &PerplexitySummary::tokens);
  nb::class_<DivergenceSummary>(m, "Divergence")
      .def_ro("model", &DivergenceSummary::model)
      .def_ro("reference", &DivergenceSummary::reference)
      .def_ro("ratio", &DivergenceSummary::ratio)
      .def_ro("kl", &DivergenceSummary::kl)
      .def_ro("top1", &DivergenceSummary::top1);
  nb::class_<QuantizationSummary>(m, "QuantizationSummary")
      .def_ro("seconds", &QuantizationSummary::seconds)
      .def_ro("source_bytes", &QuantizationSummary::source_bytes)
      .def_ro("output_bytes", &QuantizationSummary::output_bytes)
      .def_ro("bits_per_weight", &QuantizationSummary::bits_per_weight)
      .def_ro("sites", &QuantizationSummary::sites)
      .def_ro("warnings", &QuantizationSummary::warnings)
      .def_ro("report_json", &QuantizationSummary::report_json);
}

void BindLlm(nb::module_& m) {
  nb::class_<SamplingParams>(m, "SamplingParams")
      .def(nb::init<>())
      .def_rw("temperature", &SamplingParams::temperature)
      .def_rw("top_k", &SamplingParams::top_k)
      .def_rw("top_p", &SamplingParams::top_p)
      .def_rw("min_p", &SamplingParams::min_p)
      .def_rw("repetition_penalty", &SamplingParams::repetition_penalty)
      .def_rw("presence_penalty", &SamplingParams::presence_penalty)
      .def_rw("frequency_penalty", &SamplingParams::frequency_penalty)
      .def_rw("seed", &SamplingParams::seed)
      .def_rw("max_tokens", &SamplingParams::max_tokens)
      .def_rw("stop", &SamplingParams::stop)
      .def_rw("stop_tokens", &SamplingParams::stop_tokens)
      .def_rw("ignore_eos", &SamplingParams::ignore_eos)
      .def_rw("log_probabilities", &SamplingParams::log_probabilities)
      .def_rw("prompt_log_probabilities", &SamplingParams::prompt_log_probabilities)
      .def_rw("prompt_log_probabilities_begin", &SamplingParams::prompt_log_probabilities_begin);
  nb::class_<Stream>(m, "Stream")
      .def("next", &Next)
      .def("collect", &Collect)
      .def("ready", [](Stream& stream) { return stream.Wait(0); })
      .def("cancel", &Stream::Cancel);
  nb::class_<LLM>(m, "LLM")
      .def(
          "__init__",
          [](LLM* self, const std::filesystem::path& model, int threads, int64_t context,
             int64_t max_sequences, int64_t kv_memory, bool prefix_cache, bool int8_weights,
             const std::string& pre_tokenizer) {
            const nb::gil_scoped_release released;
            new (self) LLM(model, {.threads = threads,
                                   .context = context,
                                   .max_sequences = max_sequences,
                                   .kv_memory = kv_memory,
                                   .prefix_cache = prefix_cache,
                                   .int8_weights = int8_weights,
                                   .pre_tokenizer = pre_tokenizer});
          },
          "model"_a, "threads"_a, "context"_a, "max_sequences"_a, "kv_memory"_a, "prefix_cache"_a,
          "int8_weights"_a, "pre_tokenizer"_a)
      .def_prop_ro("info", &LLM::info)
      .def_prop_ro("context", &LLM::context)
      .def("encode", &LLM::Encode, "text"_a, "special"_a, "prefix"_a)
      .def(
          "decode",
          [](const LLM& llm, const std::vector<int32_t>& tokens, bool skip_special) {
            return llm.Decode(tokens, skip_special);
          },
          "tokens"_a, "skip_special"_a)
      .def("encode_chat", nb::overload_cast<std::string_view>(&LLM::EncodeChat, nb::const_))
      .def_prop_ro("chat_stop_tokens", &LLM::chat_stop_tokens)
      .def("submit", &LLM::Submit, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace
}  // namespace fptq

NB_MODULE(_fptq, m) {
  using namespace fptq;
  nb::register_exception_translator(Translate);
  BindResults(m);
  BindLlm(m);
  m.def("version", &Version);
  m.def("kernel_name", &KernelName);
  m.def("recipe_names", &RecipeNames);
  m.def(
      "quantize",
      [](const std::filesystem::path& source, const std::filesystem::path& output,
         const std::string& recipe, const std::string& settings, int threads, bool replace,
         bool restart, bool ignore_limits, const std::string& pre_tokenizer,
         const nb::object& progress) {
        return WithProgress(progress, [&](const ProgressCallback& callback) {
          return Quantize(source, output,
                          {.recipe = recipe,
                           .settings_json = settings,
                           .threads = threads,
                           .replace = replace,
                           .restart = restart,
                           .ignore_limits = ignore_limits,
                           .pre_tokenizer = pre_tokenizer,
                           .progress = callback});
        });
      },
      "source"_a, "output"_a, "recipe"_a, "settings"_a, "threads"_a, "replace"_a, "restart"_a,
      "ignore_limits"_a, "pre_tokenizer"_a, "progress"_a.none());
  m.def(
      "plan",
      [](const std::filesystem::path& source, const std::string& recipe,
         const std::string& settings, int threads, bool ignore_limits,
         const std::string& pre_tokenizer, const nb::object& progress) {
        return WithProgress(progress, [&](const ProgressCallback& callback) {
          QuantizationOptions options;
          options.recipe = recipe;
          options.settings_json = settings;
          options.threads = threads;
          options.ignore_limits = ignore_limits;
          options.pre_tokenizer = pre_tokenizer;
          options.progress = callback;
          return PlanQuantization(source, options);
        });
      },
      "source"_a, "recipe"_a, "settings"_a, "threads"_a, "ignore_limits"_a, "pre_tokenizer"_a,
      "progress"_a.none());
  m.def(
      "perplexity",
      [](const std::filesystem::path& model, const std::string& text, int64_t context,
         int64_t tokens, int threads, const std::string& pre_tokenizer,
         const nb::object& progress) {
        return WithProgress(progress, [&](const ProgressCallback& callback) {
          return Perplexity(model, text, {context, tokens, threads, pre_tokenizer, callback});
        });
      },
      "model"_a, "text"_a, "context"_a, "tokens"_a, "threads"_a, "pre_tokenizer"_a,
      "progress"_a.none());
  m.def(
      "compare",
      [](const std::filesystem::path& model, const std::filesystem::path& reference,
         const std::string& text, int64_t context, int64_t tokens, int threads,
         const std::string& pre_tokenizer, const nb::object& progress) {
        return WithProgress(progress, [&](const ProgressCallback& callback) {
          return CompareModels(model, reference, text,
                               {context, tokens, threads, pre_tokenizer, callback});
        });
      },
      "model"_a, "reference"_a, "text"_a, "context"_a, "tokens"_a, "threads"_a, "pre_tokenizer"_a,
      "progress"_a.none());
}
