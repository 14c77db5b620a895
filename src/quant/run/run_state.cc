#include "quant/run/run_state.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/build.h"
#include "base/error.h"
#include "files/atomic_write.h"
#include "files/checksum.h"
#include "files/mapped_file.h"
#include "files/paths.h"
#include "quant/run/companions.h"
#include "quant/run/source_check.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

constexpr const char* kJournal = "journal";
constexpr const char* kSpool = "tensors";
constexpr const char* kHiddenPrefix = "hidden-";
constexpr size_t kHeadRecords = 2;  // of the journal, before the layers

uint32_t ConfigChecksum(const ModelSource& source) {
  const auto dump = [](const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  std::string text = dump(source.checkpoint().metadata());
  for (const auto& [name, tensor] : source.checkpoint().tensors()) {
    text += fmt::format("\n{} {} {}", name, DataTypeName(tensor.type), ShapeString(tensor.shape));
  }
  return Checksum(text);
}

uint32_t FileChecksum(const fs::path& path, uint32_t before = 0) {
  return Checksum(MappedFile(path).bytes(), before);
}

// How the fields of two objects differ: "'v0' was 15 and is 10, ...".
std::string FieldDifferences(const Json& before, const Json& now) {
  std::string text;
  for (const auto& [name, value] : now.items()) {
    if (before.contains(name) && before[name] == value) continue;
    text += fmt::format("{}'{}' was {} and is {}", text.empty() ? "" : ", ", name,
                        before.contains(name) ? before[name].dump() : "absent", value.dump());
  }
  return text;
}

// A field of what was read; null if it is absent.
const Json& Field(const Json& object, std::string_view name) {
  static const Json kAbsent;
  const auto found = object.find(name);
  return found == object.end() ? kAbsent : *found;
}

// What two fingerprints differ in; empty if in nothing. `before` is from a file.
std::string Difference(const Json& before, const Json& now) {
  if (before == now) return "";
  const auto differs = [&](const char* field) { return Field(before, field) != now[field]; };
  if (differs("build")) {
    return fmt::format("fptq {}, and this is {}", Field(before, "build").dump(),
                       now["build"].dump());
  }
  if (differs("recipe")) {
    return fmt::format("another recipe: {}",
                       FieldDifferences(Field(before, "recipe"), now["recipe"]));
  }
  if (differs("calibration_text")) {
    return fmt::format("another calibration text: {} has changed",
                       now["recipe"]["calibration"].get<std::string>());
  }
  if (differs("config")) return "another source: its config or tensors differ";
  if (differs("tokenizer")) return "another source: its tokenizer differs";
  const Json &weights = now["weights"], &weights_before = Field(before, "weights");
  for (size_t i = 0; i < weights.size() && i < weights_before.size(); ++i) {
    if (!weights_before.is_array() || weights[i] == weights_before[i]) continue;
    return i == 0 ? "another source: its embedding, final norm or lm_head differs"
                  : fmt::format("another source: the weights of layer {} differ", i - 1);
  }
  return "something else";
}

void RemoveIfThere(const fs::path& path) {
  std::error_code ignored;
  fs::remove(path, ignored);
}

}  // namespace

Json FingerprintOf(const ModelSource& source, const QuantRecipe& recipe, GivenSequences given,
                   ThreadPool& pool, const Progress& progress) {
  uint32_t tokenizer = 0;
  for (const fs::path& file : CompanionFiles(source)) tokenizer = FileChecksum(file, tokenizer);
  Json texts = Json::array();
  for (const fs::path& file : CalibrationFiles(recipe.calibration)) {
    texts.push_back(FileChecksum(file));
  }
  for (const std::vector<int32_t>& tokens : given) {
    texts.push_back(Checksum(std::as_bytes(std::span(tokens))));
  }
  return {{"build", fmt::format("{} ({})", kVersion, kCommit)},
          {"recipe", RecipeToJson(recipe)},
          {"calibration_text", texts},
          {"config", ConfigChecksum(source)},
          {"tokenizer", {tokenizer, source.location().pre_tokenizer}},
          {"weights", CheckWeights(source, pool, progress)}};
}

bool RunState::Exists(const fs::path& folder) { return fptq::Exists(folder / kJournal); }

bool RunState::IsFile(std::string_view name) {
  return name == kJournal || name == kSpool || name.starts_with(kHiddenPrefix);
}

RunState::RunState(const fs::path& folder, const ModelConfig& config, Json fingerprint,
                   bool restart)
    : folder_(folder), journal_(folder / kJournal), spool_(folder / kSpool) {
  if (restart) journal_.Truncate(0);
  if (journal_.records().empty()) {
    journal_.Append({{"run", std::move(fingerprint)}});
    SyncFolder(folder);
  } else {
    const std::string difference = Difference(Field(journal_.records()[0], "run"), fingerprint);
    if (!difference.empty()) {
      throw Error(
          "{}: an interrupted run has begun with {} (--restart begins anew, the same command as "
          "then goes on)",
          folder.string(), difference);
    }
  }
  RestoreCalibration(config);
  RestoreLayers(config);
  RemoveOtherHidden();
}

void RunState::RestoreCalibration(const ModelConfig& config) {
  if (journal_.records().size() < kHeadRecords) return;
  try {
    calibration_ = CalibrationFromJson(journal_.records()[1], config);
  } catch (const Error&) {  // damaged
    journal_.Truncate(1);
  }
}

void RunState::RestoreLayers(const ModelConfig& config) {
  std::vector<TensorSpool::Entry> tensors;
  std::vector<LayerRecord> layers;
  std::vector<size_t> ends;  // of the layers, in `tensors`
  try {
    for (size_t i = kHeadRecords; i < journal_.records().size(); ++i) {
      const auto layer = static_cast<int64_t>(i - kHeadRecords);
      if (layer == config.layers) break;
      layers.push_back(LayerRecordFromJson(journal_.records()[i], config, layer));
      std::ranges::move(layers.back().tensors, std::back_inserter(tensors));
      ends.push_back(tensors.size());
    }
  } catch (const Error&) {  // damaged: the layers before it are good
  }
  const size_t restored = spool_.Restore(tensors);
  const auto whole = static_cast<size_t>(std::ranges::upper_bound(ends, restored) - ends.begin());
  finished_tensors_ = whole == 0 ? 0 : ends[whole - 1];
  if (finished_tensors_ < restored) {
    tensors.resize(finished_tensors_);
    spool_.Restore(tensors);
  }
  if (kHeadRecords + whole < journal_.records().size()) journal_.Truncate(kHeadRecords + whole);
  for (size_t i = 0; i < whole; ++i) layers_.push_back(std::move(layers[i].result));
  if (whole > 0) hidden_checksum_ = layers[whole - 1].hidden_checksum;
}

void RunState::SetCalibration(CalibrationSet set) {
  FPTQ_CHECK(!calibration_ && journal_.records().size() == 1);
  journal_.Append(CalibrationToJson(set));
  calibration_ = std::move(set);
}

void RunState::FinishLayer(LayerResult result, const HiddenStates& hidden) {
  FPTQ_CHECK(calibration_.has_value());
  spool_.Sync();
  OutputFile file(HiddenPath(layers_.size() + 1), IfExists::kReplace);
  hidden_checksum_ = 0;
  for (const std::span<const float> states : hidden.states()) {
    file.Write(std::as_bytes(states));
    hidden_checksum_ = Checksum(std::as_bytes(states), hidden_checksum_);
  }
  file.Close();
  const std::span<const TensorSpool::Entry> tensors = spool_.entries();
  journal_.Append(LayerRecordToJson(result, tensors.subspan(finished_tensors_), hidden_checksum_));
  finished_tensors_ = tensors.size();
  layers_.push_back(std::move(result));
  RemoveIfThere(HiddenPath(layers_.size() - 1));
}

bool RunState::LoadHidden(HiddenStates& hidden) const {
  FPTQ_CHECK(!layers_.empty());
  std::optional<MappedFile> file;
  try {
    file.emplace(HiddenPath(layers_.size()));
  } catch (const Error&) {
    return false;
  }
  std::span<const std::byte> rest = file->bytes();
  if (Checksum(rest) != hidden_checksum_) return false;
  for (const std::span<float> states : hidden.states()) {
    if (states.size_bytes() > rest.size()) return false;
    std::memcpy(states.data(), rest.data(), states.size_bytes());
    rest = rest.subspan(states.size_bytes());
  }
  return true;
}

fs::path RunState::HiddenPath(size_t layers) const {
  return folder_ / (kHiddenPrefix + std::to_string(layers));
}

void RunState::RemoveOtherHidden() const {
  for (const fs::path& path : EntriesOf(folder_)) {
    if (path.filename().string().starts_with(kHiddenPrefix) && path != HiddenPath(layers_.size())) {
      RemoveIfThere(path);
    }
  }
}

}  // namespace fptq
