#include "cli/load.h"

#include "cli/terminal.h"

namespace fptq {

std::shared_ptr<const Model> LoadModelAndWarn(const std::string& path, ThreadPool& pool) {
  auto model = LoadModel(path, pool);
  NoteWarnings(model->warnings);
  return model;
}

ModelSource OpenSourceAndWarn(const std::string& path) {
  ModelSource source = ModelSource::Open(path);
  NoteWarnings(source.warnings());
  return source;
}

}  // namespace fptq
