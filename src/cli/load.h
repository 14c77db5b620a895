// Opens what a subcommand works on.
#pragma once

#include <memory>
#include <string>

#include "model/model.h"

namespace fptq {

// LoadModel and ModelSource::Open, whose warnings go to standard error.
std::shared_ptr<const Model> LoadModelAndWarn(const std::string& path, ThreadPool& pool);
ModelSource OpenSourceAndWarn(const std::string& path);

}  // namespace fptq
