// fptq._fptq: the public API of include/fptq for Python, as it is. What a Python user sees is made
// of it in fptq/*.py.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <exception>
#include <initializer_list>
#include <memory>
#include <utility>

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

// --- Arrays ---

template <typename T>
using Array = nb::ndarray<nb::numpy, T>;
using TokenArray = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <typename T>
using GivenMatrix = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// The array owns the values: nothing is copied.
template <typename T>
Array<T> ToArray(std::vector<T> values, std::initializer_list<size_t> shape) {
  auto owned = std::make_unique<std::vector<T>>(std::move(values));
  T* data = owned->data();
  const nb::capsule owner(owned.release(),
                          [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return Array<T>(data, shape, owner);
}

template <typename T>
Array<T> CopyToArray(std::span<const T> values, std::initializer_list<int64_t> shape) {
  std::vector<size_t> sizes(shape.begin(), shape.end());
  std::vector<T> copy(values.begin(), values.end());
  if (sizes.size() == 1) return ToArray(std::move(copy), {sizes[0]});
  return ToArray(std::move(copy), {sizes[0], sizes[1]});
}

std::vector<int32_t> ToTokens(const TokenArray& tokens) {
  return {tokens.data(), tokens.data() + tokens.size()};
}

Array<double> LogProbabilities(const std::vector<TokenScore>& scores) {
  std::vector<double> values;
  for (const TokenScore& score : scores) values.push_back(score.log_probability);
  const size_t count = values.size();
  return ToArray(std::move(values), {count});
}

// --- Calls ---

// A call without the GIL that calls Python now and then. What Python raises there ends the call,
// and is raised by it.
class PythonCalls {
 public:
  // Calls `function` with the GIL.
  template <typename Function>
  auto Call(Function function) -> decltype(function()) {
    const nb::gil_scoped_acquire gil;
    try {
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
      return function();
    } catch (...) {
      raised_ = std::current_exception();
    }
    throw Error(ErrorKind::kCancelled, "cancelled");
  }

  ProgressCallback Progress(const nb::object& progress) {
    return [this, &progress](std::string_view stage, int64_t done, int64_t total) {
      return Call([&] {
        if (progress.is_none()) return true;
        const nb::object answer = progress(stage, done, total);
        return answer.is_none() || nb::cast<bool>(answer);
      });
    };
  }

  template <typename Body>
  auto Run(Body body) -> decltype(body()) {
    try {
      const nb::gil_scoped_release released;
      return body();
    } catch (const Error&) {
      if (raised_) std::rethrow_exception(raised_);
      throw;
    }
  }

 private:
  std::exception_ptr raised_;
};

// Waits for step(seconds) to say that it is over, and looks for Ctrl-C meanwhile.
template <typename Step, typename Cancel>
void WaitFor(Step step, Cancel cancel) {
  while (true) {
    {
      const nb::gil_scoped_release released;
      if (step(kSignalSeconds)) return;
    }
    if (PyErr_CheckSignals() != 0) {
      cancel();
      throw nb::python_error();
    }
  }
}

std::optional<Chunk> Next(Stream& stream) {
  WaitFor([&](double seconds) { return stream.Wait(seconds); }, [&] { stream.Cancel(); });
  const nb::gil_scoped_release released;
  return stream.Next();
}

Completion Collect(Stream& stream) {
  while (Next(stream)) {
  }
  return stream.Collect();
}

// `rounding` is called as fptq/quantization.py has it, and gives (q, scales, zero points,
// which may have no elements) or None.
RoundingFunction Rounding(const nb::object& rounding, PythonCalls& calls) {
  if (rounding.is_none()) return {};
  return [&rounding, &calls](const LinearToRound& x) {
    return calls.Call([&]() -> std::optional<RoundedLinear> {
      const int64_t gram = x.gram.empty() ? 0 : x.inputs;
      const nb::object answer =
          rounding(x.name, x.layer, x.site, x.group_size, x.bits, x.symmetric,
                   CopyToArray(x.weights, {x.channels, x.inputs}),
                   CopyToArray(x.mean_squares, {x.inputs}), CopyToArray(x.gram, {gram, gram}));
      if (answer.is_none()) return std::nullopt;
      const auto [q, scales, zero_points] =
          nb::cast<std::tuple<GivenMatrix<int8_t>, GivenMatrix<float>, GivenMatrix<int8_t>>>(
              answer);
      return RoundedLinear{
          .q = {q.data(), q.data() + q.size()},
          .scales = {scales.data(), scales.data() + scales.size()},
          .zero_points = {zero_points.data(), zero_points.data() + zero_points.size()}};
    });
  };
}

// --- Classes ---

void BindResults(nb::module_& m) {
  nb::class_<TokenScore::Alternative>(m, "Alternative", "A token that could have come instead.")
      .def_ro("token", &TokenScore::Alternative::token)
      .def_ro("log_probability", &TokenScore::Alternative::log_probability);
  nb::class_<TokenScore>(m, "TokenScore", "A token and how likely the model found it.")
      .def_ro("token", &TokenScore::token)
      .def_ro("log_probability", &TokenScore::log_probability,
              "Natural logarithm; NaN for the first token of a prompt.")
      .def_ro("top", &TokenScore::top, "The most likely tokens, best first.");
  nb::class_<Completion>(m, "Completion", "An answer.")
      .def_ro("text", &Completion::text)
      .def_ro("tokens", &Completion::tokens)
      .def_ro("scores", &Completion::scores,
              "Of `tokens`, if log_probabilities were asked for: a list of TokenScore.")
      .def_ro("prompt_scores", &Completion::prompt_scores,
              "Of the prompt, if prompt_log_probabilities were asked for.")
      .def_prop_ro(
          "log_probabilities", [](const Completion& c) { return LogProbabilities(c.scores); },
          nb::rv_policy::automatic, "Those of `scores`: float64 [tokens].")
      .def_prop_ro(
          "prompt_log_probabilities",
          [](const Completion& c) { return LogProbabilities(c.prompt_scores); },
          nb::rv_policy::automatic, "Those of `prompt_scores`: float64 [tokens].")
      .def_ro("finish_reason", &Completion::finish_reason,
              "\"stop\" (a stop token or text), \"length\" (max_tokens, or the context is full) or "
              "\"cancelled\".")
      .def_ro("prompt_tokens", &Completion::prompt_tokens, "How many tokens the prompt has.")
      .def_ro("cached_tokens", &Completion::cached_tokens,
              "How many of them had been computed before.")
      .def("__repr__", [](const Completion& c) {
        return "Completion(text=" + std::string(nb::repr(nb::cast(c.text)).c_str()) +
               ", finish_reason='" + c.finish_reason + "')";
      });
  nb::class_<Chunk>(m, "Chunk", "What a step adds to an answer.")
      .def_ro("text", &Chunk::text, "Whole characters.")
      .def_ro("tokens", &Chunk::tokens)
      .def_ro("scores", &Chunk::scores);
  nb::class_<ModelInfo>(m, "ModelInfo", "What kind of model it is.")
      .def_ro("architecture", &ModelInfo::architecture)
      .def_ro("quantized", &ModelInfo::quantized)
      .def_ro("layers", &ModelInfo::layers)
      .def_ro("hidden", &ModelInfo::hidden)
      .def_ro("vocab", &ModelInfo::vocab)
      .def_ro("positions", &ModelInfo::positions, "Tokens that the model was made for.")
      .def_ro("eos_tokens", &ModelInfo::eos_tokens, "Each of them ends a text.")
      .def_ro("start_token", &ModelInfo::start_token,
              "What a text without a beginning goes on from, BOS or EOS; -1: none.")
      .def_ro("weight_bytes", &ModelInfo::weight_bytes, "Of linears and head, in memory.")
      .def_ro("warnings", &ModelInfo::warnings, "What a user should know of the files.");
  nb::class_<Measured>(m, "Measured", "A mean and its standard error (NaN: unknown).")
      .def_ro("value", &Measured::value)
      .def_ro("standard_error", &Measured::standard_error)
      .def("__repr__", [](const Measured& x) {
        return "Measured(value=" + std::to_string(x.value) +
               ", standard_error=" + std::to_string(x.standard_error) + ")";
      });
  nb::class_<PerplexitySummary>(m, "Perplexity", "How well a model predicts a text.")
      .def_ro("perplexity", &PerplexitySummary::perplexity)
      .def_ro("nll", &PerplexitySummary::nll, "-log p of a token, mean, in nats.")
      .def_ro("tokens", &PerplexitySummary::tokens, "How many were scored.");
  nb::class_<DivergenceSummary>(m, "Divergence", "How far a model is from another one.")
      .def_ro("model", &DivergenceSummary::model)
      .def_ro("reference", &DivergenceSummary::reference)
      .def_ro("ratio", &DivergenceSummary::ratio, "Of the perplexities.")
      .def_ro("kl", &DivergenceSummary::kl,
              "sum p log(p / q) over the vocabulary, in nats, mean over the tokens.")
      .def_ro("top1", &DivergenceSummary::top1, "Share of tokens that both find most likely.");
  nb::class_<QuantizationSummary>(m, "QuantizationSummary")
      .def_ro("seconds", &QuantizationSummary::seconds)
      .def_ro("source_bytes", &QuantizationSummary::source_bytes)
      .def_ro("output_bytes", &QuantizationSummary::output_bytes)
      .def_ro("bits_per_weight", &QuantizationSummary::bits_per_weight)
      .def_ro("sites", &QuantizationSummary::sites)
      .def_ro("warnings", &QuantizationSummary::warnings)
      .def_ro("report_json", &QuantizationSummary::report_json);
}

void BindOptions(nb::module_& m) {
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
      .def_rw("log_probabilities", &SamplingParams::log_probabilities, nb::arg().none())
      .def_rw("prompt_log_probabilities", &SamplingParams::prompt_log_probabilities)
      .def_rw("prompt_log_probabilities_begin", &SamplingParams::prompt_log_probabilities_begin);
  nb::class_<LlmOptions>(m, "LlmOptions")
      .def(nb::init<>())
      .def_rw("threads", &LlmOptions::threads)
      .def_rw("context", &LlmOptions::context)
      .def_rw("max_sequences", &LlmOptions::max_sequences)
      .def_rw("kv_memory", &LlmOptions::kv_memory)
      .def_rw("prefix_cache", &LlmOptions::prefix_cache)
      .def_rw("int8_weights", &LlmOptions::int8_weights)
      .def_rw("pre_tokenizer", &LlmOptions::pre_tokenizer);
  nb::class_<ServeOptions>(m, "ServeOptions")
      .def(nb::init<>())
      .def_rw("host", &ServeOptions::host)
      .def_rw("port", &ServeOptions::port)
      .def_rw("model_names", &ServeOptions::model_names)
      .def_rw("api_keys", &ServeOptions::api_keys)
      .def_rw("cors_origins", &ServeOptions::cors_origins)
      .def_rw("queue", &ServeOptions::queue)
      .def_rw("request_seconds", &ServeOptions::request_seconds);
  nb::class_<EvaluationOptions>(m, "EvaluationOptions")
      .def(nb::init<>())
      .def_rw("context", &EvaluationOptions::context)
      .def_rw("tokens", &EvaluationOptions::tokens)
      .def_rw("threads", &EvaluationOptions::threads)
      .def_rw("pre_tokenizer", &EvaluationOptions::pre_tokenizer);
  nb::class_<QuantizationOptions>(m, "QuantizationOptions")
      .def(nb::init<>())
      .def_rw("recipe", &QuantizationOptions::recipe)
      .def_rw("settings", &QuantizationOptions::settings_json)
      .def_rw("calibration", &QuantizationOptions::calibration)
      .def_rw("threads", &QuantizationOptions::threads)
      .def_rw("replace", &QuantizationOptions::replace)
      .def_rw("restart", &QuantizationOptions::restart)
      .def_rw("ignore_limits", &QuantizationOptions::ignore_limits)
      .def_rw("pre_tokenizer", &QuantizationOptions::pre_tokenizer);
}

void BindLlm(nb::module_& m) {
  nb::class_<ModelTokenizer>(m, "Tokenizer")
      .def(nb::init<const std::filesystem::path&, const std::string&>(), "model"_a,
           "pre_tokenizer"_a)
      .def("encode", &ModelTokenizer::Encode, "text"_a, "special"_a, "prefix"_a)
      .def(
          "decode",
          [](const ModelTokenizer& tokenizer, const TokenArray& tokens, bool skip_special) {
            return tokenizer.Decode({tokens.data(), tokens.size()}, skip_special);
          },
          "tokens"_a, "skip_special"_a)
      .def("encode_chat",
           nb::overload_cast<std::string_view>(&ModelTokenizer::EncodeChat, nb::const_))
      .def_prop_ro("chat_stop_tokens", &ModelTokenizer::chat_stop_tokens);
  nb::class_<Stream>(m, "Stream", "A request that runs. Dropping it cancels it.")
      .def("next", &Next, "Waits for the next Chunk; None at the end.")
      .def("collect", &Collect, "Waits for the end; the whole Completion.")
      .def(
          "ready", [](Stream& stream) { return stream.Wait(0); }, "Whether next() would not wait.")
      .def("cancel", &Stream::Cancel, "Ends the request.");
  nb::class_<LLM>(m, "LLM")
      .def(nb::init<const std::filesystem::path&, const LlmOptions&>(), "model"_a, "options"_a,
           nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("info", &LLM::info)
      .def_prop_ro("context", &LLM::context)
      .def_prop_ro("tokenizer", &LLM::tokenizer, nb::rv_policy::reference_internal)
      .def(
          "submit",
          [](LLM& llm, const TokenArray& prompt, const SamplingParams& params) {
            std::vector<int32_t> tokens = ToTokens(prompt);
            const nb::gil_scoped_release released;
            return llm.Submit(std::move(tokens), params);
          },
          "prompt"_a, "params"_a)
      .def(
          "embed",
          [](LLM& llm, const std::vector<TokenArray>& sequences, bool mean,
             const nb::object& progress) {
            std::vector<std::vector<int32_t>> tokens;
            for (const TokenArray& sequence : sequences) tokens.push_back(ToTokens(sequence));
            PythonCalls calls;
            const auto vectors = calls.Run([&] {
              return llm.Embed(tokens, mean ? Pooling::kMean : Pooling::kLast,
                               calls.Progress(progress));
            });
            std::vector<float> values;
            for (const auto& vector : vectors) {
              values.insert(values.end(), vector.begin(), vector.end());
            }
            return ToArray(std::move(values),
                           {vectors.size(), static_cast<size_t>(llm.info().hidden)});
          },
          "sequences"_a, "mean"_a, "progress"_a.none());
  nb::class_<ModelServer>(m, "ModelServer")
      .def(nb::init<const std::filesystem::path&, const LlmOptions&, const ServeOptions&>(),
           "model"_a, "options"_a, "serve"_a, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("url", &ModelServer::url)
      .def("drain", &ModelServer::Drain)
      .def("wait", [](ModelServer& server) {
        WaitFor([&](double seconds) { return server.Wait(seconds); }, [] {});
      });
}

void BindFunctions(nb::module_& m) {
  m.def("version", &Version, "Version and commit: \"0.1.0 (a1b2c3d)\".");
  m.def("kernel_name", &KernelName, "Which kernels this processor is given: \"avx512vnni\".");
  m.def("recipe_names", &RecipeNames, "Names of the recipes that ship with fptq.");
  m.def("linear_names", &LinearNames, "model"_a);
  m.def(
      "weights",
      [](const std::filesystem::path& model, const std::string& linear) {
        Weights weights = ReadWeights(model, linear);
        return ToArray(std::move(weights.values), {static_cast<size_t>(weights.channels),
                                                   static_cast<size_t>(weights.inputs)});
      },
      "model"_a, "linear"_a);
  m.def(
      "quantize",
      [](const std::filesystem::path& source, const std::filesystem::path& output,
         QuantizationOptions options, const nb::object& rounding, const nb::object& progress) {
        PythonCalls calls;
        options.rounding = Rounding(rounding, calls);
        options.progress = calls.Progress(progress);
        return calls.Run([&] { return Quantize(source, output, options); });
      },
      "source"_a, "output"_a, "options"_a, "rounding"_a.none(), "progress"_a.none());
  m.def(
      "plan",
      [](const std::filesystem::path& source, QuantizationOptions options,
         const nb::object& progress) {
        PythonCalls calls;
        options.progress = calls.Progress(progress);
        return calls.Run([&] { return PlanQuantization(source, options); });
      },
      "source"_a, "options"_a, "progress"_a.none());
  m.def(
      "observe",
      [](const std::filesystem::path& source, QuantizationOptions options, int64_t sample_rows,
         const nb::object& take, const nb::object& progress) {
        PythonCalls calls;
        options.progress = calls.Progress(progress);
        calls.Run([&] {
          ObserveActivations(source, options, sample_rows, [&](const SiteActivations& x) {
            calls.Call([&] {
              take(x.layer, x.site, x.rows, CopyToArray(x.absmax, {x.inputs}),
                   CopyToArray(x.mean_squares, {x.inputs}),
                   CopyToArray(x.sample, {x.sample_rows, x.inputs}));
            });
          });
        });
      },
      "source"_a, "options"_a, "sample_rows"_a, "take"_a, "progress"_a.none());
  m.def(
      "perplexity",
      [](const std::filesystem::path& model, const std::string& text, EvaluationOptions options,
         const nb::object& progress) {
        PythonCalls calls;
        options.progress = calls.Progress(progress);
        return calls.Run([&] { return Perplexity(model, text, options); });
      },
      "model"_a, "text"_a, "options"_a, "progress"_a.none());
  m.def(
      "compare",
      [](const std::filesystem::path& model, const std::filesystem::path& reference,
         const std::string& text, EvaluationOptions options, const nb::object& progress) {
        PythonCalls calls;
        options.progress = calls.Progress(progress);
        return calls.Run([&] { return CompareModels(model, reference, text, options); });
      },
      "model"_a, "reference"_a, "text"_a, "options"_a, "progress"_a.none());
}

}  // namespace
}  // namespace fptq

NB_MODULE(_fptq, m) {
  using namespace fptq;
  nb::register_exception_translator(Translate);
  BindResults(m);
  BindOptions(m);
  BindLlm(m);
  BindFunctions(m);
}
