#include "quant/run_state.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/atomic_write.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "quant/companions.h"
#include "quant/layer_record.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

constexpr const char* kJournal = "journal";
constexpr const char* kHiddenPrefix = "hidden-";
constexpr size_t kHeadRecords = 2;  // of the journal, before the layers

// Checksum of the tensors, in parallel.
uint32_t TensorsChecksum(std::span<const TensorView* const> tensors, ThreadPool& pool) {
  constexpr size_t kPieceBytes = size_t{8} << 20;
  std::vector<std::span<const std::byte>> pieces;
  for (const TensorView* tensor : tensors) {
    for (std::span<const std::byte> rest = tensor->bytes; !rest.empty();) {
      const size_t size = std::min(rest.size(), kPieceBytes);
      pieces.push_back(rest.first(size));
      rest = rest.subspan(size);
    }
  }
  std::vector<uint32_t> checksums(pieces.size());
  pool.ParallelEach(std::ssize(pieces), [&](int64_t i) {
    checksums[static_cast<size_t>(i)] = Checksum(pieces[static_cast<size_t>(i)]);
  });
  return Checksum(std::as_bytes(std::span(checksums)));
}

// What the names of a layer's tensors begin with: "model.layers.3.".
std::string LayerPrefix(const ModelSource& source, int64_t layer) {
  const std::string name = source.Name(source.arch().linears[0].module, layer);
  const std::string number = fmt::format(".{}.", layer);
  return name.substr(0, name.find(number) + number.size());
}

// Of the tensors that belong to no layer, then of each layer.
Json WeightsChecksums(const ModelSource& source, ThreadPool& pool, const Progress& progress) {
  const int64_t layers = source.config().layers;
  std::vector<std::vector<const TensorView*>> tensors(static_cast<size_t>(layers) + 1);
  std::vector<std::string> prefixes;
  for (int64_t layer = 0; layer < layers; ++layer) prefixes.push_back(LayerPrefix(source, layer));
  for (const auto& [name, tensor] : source.checkpoint().tensors()) {
    const auto layer = std::ranges::find_if(
        prefixes, [&](const auto& prefix) { return name.starts_with(prefix); });
    const auto index = layer == prefixes.end() ? 0 : layer - prefixes.begin() + 1;
    tensors[static_cast<size_t>(index)].push_back(&tensor);
  }
  Json checksums = Json::array();
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (progress) progress("reading the source", static_cast<int64_t>(i), std::ssize(tensors));
    checksums.push_back(TensorsChecksum(tensors[i], pool));
    source.checkpoint().ReleasePages();
  }
  return checksums;
}

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

// What two fingerprints differ in; empty if in nothing.
std::string Difference(const Json& before, const Json& now) {
  if (before == now) return "";
  if (before["build"] != now["build"]) {
    return fmt::format("fptq {}, and this is {}", before["build"].get<std::string>(),
                       now["build"].get<std::string>());
  }
  if (before["recipe"] != now["recipe"]) {
    return fmt::format("another recipe: {}", FieldDifferences(before["recipe"], now["recipe"]));
  }
  if (before["calibration_text"] != now["calibration_text"]) {
    return fmt::format("another calibration text: {} has changed",
                       now["recipe"]["calibration"].get<std::string>());
  }
  if (before["config"] != now["config"]) return "another source: its config or tensors differ";
  if (before["tokenizer"] != now["tokenizer"]) return "another source: its tokenizer differs";
  const Json& weights = now["weights"];
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == before["weights"][i]) continue;
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

Json FingerprintOf(const ModelSource& source, const QuantRecipe& recipe, ThreadPool& pool,
                   const Progress& progress) {
  uint32_t tokenizer = 0;
  for (const fs::path& file : CompanionFiles(source)) tokenizer = FileChecksum(file, tokenizer);
  Json text;
  if (recipe.calibration != kSelfCalibration && recipe.calibration != kRandomCalibration) {
    text = FileChecksum(recipe.calibration);
  }
  return {{"build", FPTQ_BUILD},      {"recipe", RecipeToJson(recipe)},
          {"calibration_text", text}, {"config", ConfigChecksum(source)},
          {"tokenizer", tokenizer},   {"weights", WeightsChecksums(source, pool, progress)}};
}

bool RunState::Exists(const fs::path& folder) { return fs::exists(folder / kJournal); }

RunState::RunState(const fs::path& folder, Json fingerprint, bool restart)
    : folder_(folder), journal_(folder / kJournal), spool_(folder / "tensors") {
  if (restart) journal_.Truncate(0);
  if (!journal_.records().empty()) {
    const std::string difference = Difference(journal_.records()[0]["run"], fingerprint);
    if (!difference.empty()) {
      throw Error(
          "{}: an interrupted run has begun with {} (--restart begins anew, the same command as "
          "then goes on)",
          folder.string(), difference);
    }
    if (journal_.records().size() >= kHeadRecords) {
      calibration_.emplace(
          journal_.records()[1]["calibration"].get<decltype(CalibrationSet::sequences)>());
    }
  } else {
    journal_.Append({{"run", std::move(fingerprint)}});
    SyncFolder(folder);
  }
  RestoreLayers();
  RemoveOtherHidden();
}

void RunState::RestoreLayers() {
  const std::vector<Json>& records = journal_.records();
  std::vector<TensorSpool::Entry> entries;
  std::vector<size_t> ends;  // of the layers, in `entries`
  for (size_t i = kHeadRecords; i < records.size(); ++i) {
    std::ranges::move(EntriesFromJson(records[i]["tensors"]), std::back_inserter(entries));
    ends.push_back(entries.size());
  }
  const size_t restored = spool_.Restore(entries);
  const auto whole = static_cast<size_t>(std::ranges::upper_bound(ends, restored) - ends.begin());
  if (whole < ends.size()) {
    entries.resize(whole == 0 ? 0 : ends[whole - 1]);
    spool_.Restore(entries);
    journal_.Truncate(kHeadRecords + whole);
  }
  for (size_t i = 0; i < whole; ++i) {
    layers_.push_back(LayerResultFromJson(records[kHeadRecords + i]["result"]));
  }
}

void RunState::SetCalibration(CalibrationSet set) {
  FPTQ_CHECK(!calibration_ && journal_.records().size() == 1);
  journal_.Append({{"calibration", set.sequences}});
  calibration_ = std::move(set);
}

void RunState::FinishLayer(LayerResult result, const HiddenStates& hidden) {
  FPTQ_CHECK(calibration_.has_value());
  spool_.Sync();
  const fs::path path = HiddenPath(layers_.size() + 1);
  RemoveIfThere(path);
  OutputFile file(path);
  uint32_t checksum = 0;
  for (const std::span<const float> states : hidden.states()) {
    file.Write(std::as_bytes(states));
    checksum = Checksum(std::as_bytes(states), checksum);
  }
  file.Close();
  SyncFolder(folder_);
  size_t first = 0;
  for (size_t i = kHeadRecords; i < journal_.records().size(); ++i) {
    first += journal_.records()[i]["tensors"].size();
  }
  journal_.Append({{"tensors", EntriesToJson(std::span(spool_.entries()).subspan(first))},
                   {"result", LayerResultToJson(result)},
                   {"hidden", checksum}});
  layers_.push_back(std::move(result));
  RemoveIfThere(HiddenPath(layers_.size() - 1));
}

bool RunState::LoadHidden(HiddenStates& hidden) const {
  FPTQ_CHECK(!layers_.empty());
  const fs::path path = HiddenPath(layers_.size());
  if (!fs::exists(path)) return false;
  const MappedFile file(path);
  std::span<const std::byte> rest = file.bytes();
  if (Checksum(rest) != journal_.records().back()["hidden"].get<uint32_t>()) return false;
  for (const std::span<float> states : hidden.states()) {
    FPTQ_CHECK(states.size_bytes() <= rest.size());
    std::memcpy(states.data(), rest.data(), states.size_bytes());
    rest = rest.subspan(states.size_bytes());
  }
  return true;
}

fs::path RunState::HiddenPath(size_t layers) const {
  return folder_ / (kHiddenPrefix + std::to_string(layers));
}

void RunState::RemoveOtherHidden() const {
  std::vector<fs::path> others;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    if (entry.path().filename().string().starts_with(kHiddenPrefix) &&
        entry.path() != HiddenPath(layers_.size())) {
      others.push_back(entry.path());
    }
  }
  for (const fs::path& path : others) RemoveIfThere(path);
}

}  // namespace fptq
