#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

namespace fptq {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

const char* FinishName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStopToken:
      return "stop_token";
    case FinishReason::kStopString:
      return "stop_string";
    case FinishReason::kMaxTokens:
      return "max_tokens";
    case FinishReason::kContextFull:
      return "context_full";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kError:
      return "error";
  }
  return "";
}

MetricFamily Single(MetricType type, const char* name, const char* help, double value) {
  prometheus::ClientMetric metric;
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return {name, help, type, {metric}};
}
MetricFamily Gauge(const char* name, const char* help, int64_t value) {
  return Single(MetricType::Gauge, name, help, static_cast<double>(value));
}
MetricFamily Counter(const char* name, const char* help, int64_t value) {
  return Single(MetricType::Counter, name, help, static_cast<double>(value));
}

}  // namespace

struct Metrics::State {
  State(std::string_view version, std::string_view kernels)
      : responses(prometheus::BuildCounter()
                      .Name("fptq_responses_total")
                      .Help("Responses by endpoint and status; 499: the client went away")
                      .Register(registry)),
        finishes(prometheus::BuildCounter()
                     .Name("fptq_sequences_total")
                     .Help("Sequences that ended, by reason")
                     .Register(registry)),
        first_token(MakeHistogram("fptq_time_to_first_token_seconds",
                                  "From a request's last byte to its first token",
                                  {.005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 60, 120})),
        token(MakeHistogram("fptq_time_per_token_seconds", "Between tokens of a sequence",
                            {.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5})),
        queue(MakeHistogram("fptq_queue_seconds", "From submission to a sequence's first step",
                            {.001, .01, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300})),
        request(MakeHistogram("fptq_request_seconds",
                              "From a request's last byte to the end of its answer",
                              {.01, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 1800})) {
    prometheus::BuildGauge()
        .Name("fptq_build_info")
        .Help("1")
        .Register(registry)
        .Add({{"version", std::string(version)}, {"kernels", std::string(kernels)}})
        .Set(1);
  }

  prometheus::Histogram& MakeHistogram(const char* name, const char* help,
                                       prometheus::Histogram::BucketBoundaries buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(
        {}, std::move(buckets));
  }

  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>&responses, &finishes;
  prometheus::Histogram &first_token, &token, &queue, &request;
};

Metrics::Metrics(std::string_view version, std::string_view kernels)
    : state_(std::make_unique<State>(version, kernels)) {}
Metrics::~Metrics() = default;

void Metrics::CountResponse(std::string_view endpoint, int status) {
  state_->responses.Add({{"endpoint", std::string(endpoint)}, {"status", std::to_string(status)}})
      .Increment();
}
void Metrics::ObserveFirstToken(double seconds) { state_->first_token.Observe(seconds); }
void Metrics::ObserveToken(double seconds) { state_->token.Observe(seconds); }
void Metrics::ObserveRequest(double seconds) { state_->request.Observe(seconds); }
void Metrics::ObserveFinish(const Finish& finish) {
  state_->finishes.Add({{"reason", FinishName(finish.reason)}}).Increment();
  state_->queue.Observe(finish.queue_seconds);
}

std::string Metrics::Text(const Now& now) const {
  const ServiceStatistics& s = now.service;
  std::vector<MetricFamily> families = state_->registry.Collect();
  const std::vector<MetricFamily> current = {
      Gauge("fptq_ready", "1 while requests are taken", now.ready ? 1 : 0),
      Gauge("fptq_sequences_waiting", "Sequences in the queue", s.waiting),
      Gauge("fptq_sequences_running", "Sequences that are computed", s.running),
      Gauge("fptq_kv_pages", "Pages of the KV cache, of 64 positions each", s.pages),
      Gauge("fptq_kv_pages_free", "Those that no sequence holds", s.free_pages),
      Counter("fptq_prompt_tokens_total", "Tokens of prompts that were computed", s.prompt_tokens),
      Counter("fptq_cached_tokens_total",
              "Tokens of prompts that the prefix cache had, and were not computed",
              s.cached_tokens),
      Counter("fptq_completion_tokens_total", "Tokens of answers", s.completion_tokens),
      Counter("fptq_preemptions_total", "Sequences set aside because pages ran out", s.preemptions),
      Counter("fptq_steps_total", "Steps of the engine", s.steps),
      Gauge("fptq_connections", "Open connections", now.connections),
      Gauge("fptq_http_memory_bytes", "Of bodies, answers, and what is not sent yet", now.memory),
      Gauge("fptq_http_memory_limit_bytes", "Most of it", now.memory_limit),
      Gauge("process_resident_memory_bytes", "Memory of the process in RAM", now.resident_bytes)};
  families.insert(families.end(), current.begin(), current.end());
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return text.str();
}

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0, resident = 0;
  statm >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

}  // namespace fptq
