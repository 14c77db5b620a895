// A loaded model, its threads and its engine: what LLM and ModelServer are made of.
#pragma once

#include <filesystem>
#include <memory>

#include "base/thread_pool.h"
#include "engine/service.h"
#include "fptq/llm.h"
#include "model/model.h"

namespace fptq {

struct RunningModel {
  // `queue`: the most requests that wait.
  RunningModel(const std::filesystem::path& path, const LlmOptions& options, int64_t queue);

  ThreadPool pool;
  std::shared_ptr<const Model> model;
  std::shared_ptr<Service> service;  // goes before both
};

}  // namespace fptq
