// What /metrics tells Prometheus.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/service.h"

namespace fptq {

class Metrics {
 public:
  // `version`, `kernels`: labels of fptq_build_info.
  Metrics(std::string_view version, std::string_view kernels);
  ~Metrics();

  // `endpoint`: a row of the server's table, or "other".
  void CountResponse(std::string_view endpoint, int status);
  void ObserveFirstToken(double seconds);  // since the request was there
  void ObserveToken(double seconds);       // since the one before
  void ObserveFinish(const Finish& finish);
  void ObserveRequest(double seconds);  // from its last byte to its answer's

  struct Now {
    ServiceStatistics service;
    bool ready = false;
    int64_t connections = 0;
    int64_t memory = 0, memory_limit = 0;  // of HttpLimits::memory
    int64_t resident_bytes = 0;
  };
  std::string Text(const Now& now) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Memory that the process has in RAM; 0 if the system does not say.
int64_t ResidentBytes();

}  // namespace fptq
