#include "api/running_model.h"

#include <algorithm>

#include "api/call.h"
#include "base/error.h"

namespace fptq {
namespace {

constexpr int64_t kDefaultContext = 8192;

int64_t ContextOf(const LlmOptions& options, const ModelConfig& config) {
  const int64_t most = config.max_positions + 1;
  if (options.context < -1 || options.context > most) {
    throw Error("context: expected 1 to {}, one more than the model has positions, found {}", most,
                options.context);
  }
  if (options.context == -1) return most;
  if (options.context > 0) return options.context;
  return std::min(kDefaultContext, config.max_positions);
}

}  // namespace

RunningModel::RunningModel(const std::filesystem::path& path, const LlmOptions& options,
                           int64_t queue)
    : pool(ThreadCount(options.threads)),
      model(LoadModel({path, options.pre_tokenizer}, pool,
                      options.int8_weights ? FloatForm::kInt8 : FloatForm::kFloat32)) {
  const SchedulerOptions scheduler = {.context = ContextOf(options, model->config()),
                                      .max_sequences = options.max_sequences,
                                      .kv_bytes = options.kv_memory,
                                      .prefix_cache = options.prefix_cache};
  service = std::make_shared<Service>(model, pool, scheduler, queue);
}

}  // namespace fptq
