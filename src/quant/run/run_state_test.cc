// Quantization that is killed, at any point, and goes on.
#include "quant/run/run_state.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <random>

#include "base/test_paths.h"
#include "base/test_util.h"
#include "files/checksum.h"
#include "io/safetensors.h"
#include "quant/run/quantize.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;
const fs::path kTiny = fs::path(kTestdata) / "models/tiny-llama-f16";
constexpr int kLayers = 5;

// The tiny model with its layers repeated, so that there is something between them.
fs::path WriteModel(const fs::path& to) {
  const auto tiny = Checkpoint::Open(kTiny);
  std::map<std::string, const TensorView*> tensors;
  for (const auto& [name, view] : tiny->tensors()) {
    if (!name.starts_with("model.layers.")) tensors[name] = &view;
    for (int layer = 0; layer < kLayers; ++layer) {
      const std::string from = fmt::format("model.layers.{}.", layer % 2);
      if (!name.starts_with(from)) continue;
      tensors[fmt::format("model.layers.{}.{}", layer, name.substr(from.size()))] = &view;
    }
  }
  fs::create_directory(to);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    fs::copy_file(kTiny / name, to / name);
  }
  Json config = tiny->metadata();
  config["num_hidden_layers"] = kLayers;
  std::ofstream(to / "config.json") << config.dump();
  std::vector<SafetensorsWriter::Tensor> layout;
  for (const auto& [name, view] : tensors) layout.push_back({name, view->type, view->shape});
  SafetensorsWriter writer(to / "model.safetensors", layout);
  for (const auto& [name, view] : tensors) writer.Write(name, view->bytes);
  writer.Close();
  return to;
}

std::map<std::string, std::string> FilesOf(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    files[entry.path().filename().string()] = ReadFile(entry.path());
  }
  return files;
}

// Flips a bit of the byte at `offset`, from the end if negative.
void Damage(const fs::path& path, int64_t offset) {
  std::string text = ReadFile(path);
  char& byte = text[static_cast<size_t>(offset < 0 ? std::ssize(text) + offset : offset)];
  byte = static_cast<char>(byte ^ 1);
  std::ofstream(path, std::ios::binary) << text;
}

class RunStateTest : public testing::Test {
 protected:
  RunStateTest() {
    recipe_.calibration_tokens = 512;
    recipe_.sequence_length = 64;
    recipe_.calibration = folder_.Write("text.txt", ReadFile(kTiny / "tokenizer.json")).string();
    const auto start = std::chrono::steady_clock::now();
    Quantize("expected");
    microseconds_ = std::chrono::duration_cast<std::chrono::microseconds>(
                        std::chrono::steady_clock::now() - start)
                        .count();
    expected_ = FilesOf(folder_ / "expected");
  }

  QuantizeReport Quantize(const std::string& output, bool restart = false, int threads = 1,
                          const Progress& progress = {}) {
    ThreadPool pool(threads);
    return QuantizeCheckpoint(source_, folder_ / output, recipe_,
                              {.replace = false, .restart = restart}, pool, progress);
  }

  // Quantizes in a process of its own, which kills itself when progress is reported for the
  // `reports`th time or is killed after `microseconds`; true if it came to its end.
  bool QuantizeAndKill(int reports, int64_t microseconds) {
    const pid_t child = fork();
    if (child == 0) {
      const std::string error = ErrorOf([&] {
        Quantize("out", /*restart=*/false, /*threads=*/2, [&](std::string_view, int64_t, int64_t) {
          if (--reports == 0) kill(getpid(), SIGKILL);
        });
      });
      _exit(error.empty() ? 0 : 1);
    }
    if (microseconds > 0) {
      usleep(static_cast<useconds_t>(microseconds));
      kill(child, SIGKILL);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

  // Layers that are in the state that was left.
  int64_t FinishedLayers() const {
    if (!fs::exists(work_ / "journal")) return 0;
    return std::max<int64_t>(std::ssize(Journal(work_ / "journal").records()) - 2, 0);
  }

  void ExpectIdenticalOutput() {
    EXPECT_EQ(FilesOf(folder_ / "out"), expected_);
    EXPECT_FALSE(fs::exists(work_));
    fs::remove_all(folder_ / "out");
  }

  // A run that was killed after some layers. It is kept: finding out when to kill takes many runs.
  void LeaveLayers(int64_t layers) {
    const fs::path kept = folder_ / fmt::format("killed-after-{}", layers);
    fs::remove_all(work_);
    if (fs::exists(kept)) {
      fs::copy(kept, work_, fs::copy_options::recursive);
    } else {
      for (int reports = 1; FinishedLayers() < layers; ++reports) {
        fs::remove_all(work_);
        ASSERT_FALSE(QuantizeAndKill(reports, 0));
      }
      fs::copy(work_, kept, fs::copy_options::recursive);
    }
    ASSERT_EQ(FinishedLayers(), layers);
  }

  TempFolder folder_;
  fs::path source_ = WriteModel(folder_ / "source");
  fs::path work_ = folder_ / "out.partial";
  QuantRecipe recipe_;
  std::map<std::string, std::string> expected_;
  int64_t microseconds_ = 0;  // of a whole run
};

TEST_F(RunStateTest, GoesOnFromEveryLayer) {
  for (int reports = 1; !QuantizeAndKill(reports, 0); ++reports) {
    const int64_t finished = FinishedLayers();
    EXPECT_EQ(Quantize("out").resumed_layers, finished) << reports;
    ExpectIdenticalOutput();
  }
  ExpectIdenticalOutput();
}

TEST_F(RunStateTest, GoesOnAfterKillsAtRandomTimes) {
  const unsigned seed = std::random_device()();
  std::mt19937 random(seed);
  std::string log = fmt::format("seed {}, {} us a run:", seed, microseconds_);
  for (int round = 0; round < 4; ++round) {
    bool finished = false;
    // An output may have its name though the run that made it was killed before it ended.
    for (int i = 0; i < 25 && !finished && !fs::exists(folder_ / "out"); ++i) {
      const auto longest = static_cast<uint64_t>(microseconds_) / 2;
      const auto delay = static_cast<int64_t>(1 + random() % longest);
      finished = QuantizeAndKill(/*reports=*/0, delay);
      log += fmt::format(" {} us, {};", delay,
                         finished ? "finished" : fmt::format("{} layers", FinishedLayers()));
    }
    if (!fs::exists(folder_ / "out")) Quantize("out");
    SCOPED_TRACE(log);
    EXPECT_EQ(FilesOf(folder_ / "out"), expected_);
    fs::remove_all(folder_ / "out");
    fs::remove_all(work_);
  }
  RecordProperty("kills", log);
}

TEST_F(RunStateTest, EndsWithAnErrorWhereInputsDiffer) {
  LeaveLayers(2);
  const QuantRecipe recipe = recipe_;
  recipe_.v0 = 11;
  recipe_.group_size = 32;
  EXPECT_ERROR("'group_size' was 128 and is 32, 'v0' was 15.0 and is 11.0", Quantize("out"));
  recipe_ = recipe;
  const auto expect_error = [&](const char* part, const fs::path& file, int64_t offset) {
    Damage(file, offset);
    EXPECT_ERROR(part, Quantize("out"));
    EXPECT_ERROR("--restart", Quantize("out"));
    Damage(file, offset);
  };
  expect_error("text.txt has changed", recipe_.calibration, 100);
  const int64_t tail = ReadFile(source_ / "model.safetensors").size() / 2;
  expect_error("the weights of layer", source_ / "model.safetensors", tail);
  const std::string tokenizer = ReadFile(source_ / "tokenizer_config.json");
  std::ofstream(source_ / "tokenizer_config.json") << tokenizer << " ";
  EXPECT_ERROR("another source: its tokenizer differs", Quantize("out"));
  std::ofstream(source_ / "tokenizer_config.json") << tokenizer;
  EXPECT_EQ(FinishedLayers(), 2);  // nothing was lost by all this
  EXPECT_EQ(Quantize("out").resumed_layers, 2);
  ExpectIdenticalOutput();
}

TEST_F(RunStateTest, RestartBeginsAnew) {
  recipe_.v0 = 11;
  LeaveLayers(2);
  recipe_.v0 = QuantRecipe().v0;
  EXPECT_EQ(Quantize("out", /*restart=*/true).resumed_layers, 0);
  ExpectIdenticalOutput();
}

TEST_F(RunStateTest, GoesOnFromWhatIsUndamaged) {
  const auto run = [&](int64_t resumed, const std::function<void()>& change) {
    LeaveLayers(3);
    change();
    EXPECT_EQ(Quantize("out").resumed_layers, resumed);
    ExpectIdenticalOutput();
  };
  run(3, [] {});
  run(2, [&] { Damage(work_ / "journal", -2); });
  run(2, [&] { fs::resize_file(work_ / "journal", fs::file_size(work_ / "journal") - 1); });
  run(0, [&] { Damage(work_ / "journal", 20); });
  run(2, [&] { fs::resize_file(work_ / "tensors", fs::file_size(work_ / "tensors") - 1); });
  run(0, [&] { Damage(work_ / "tensors", 1); });
  run(3, [&] { std::ofstream(work_ / "tensors", std::ios::app) << "half a layer"; });
  run(3, [&] { fs::remove(work_ / "hidden-3"); });
  run(3, [&] { Damage(work_ / "hidden-3", 0); });
  run(3, [&] { fs::resize_file(work_ / "hidden-3", 0); });
  run(3, [&] { std::ofstream(work_ / "hidden-4") << "half"; });
}

// Records whose checksums are right, but which no run has written.
TEST_F(RunStateTest, TrustsNoRecord) {
  const auto rewrite = [&](const std::function<void(std::vector<Json>&)>& change) {
    LeaveLayers(3);
    Journal journal(work_ / "journal");
    std::vector<Json> records = journal.records();
    change(records);
    journal.Truncate(0);
    for (const Json& record : records) journal.Append(record);
  };
  const auto restarts = [&](const std::function<void(Json & head)>& change) {
    rewrite([&](std::vector<Json>& records) { change(records[0]); });
    EXPECT_ERROR("--restart begins anew", Quantize("out"));
    EXPECT_EQ(Quantize("out", /*restart=*/true).resumed_layers, 0);
    ExpectIdenticalOutput();
  };
  restarts([](Json& head) { head = nullptr; });
  restarts([](Json& head) { head.erase("run"); });
  restarts([](Json& head) { head["run"] = 5; });
  restarts([](Json& head) { head["run"].erase("build"); });
  restarts([](Json& head) { head["run"]["build"] = {1, 2}; });
  restarts([](Json& head) { head["run"]["recipe"] = "x"; });
  restarts([](Json& head) { head["run"].erase("recipe"); });
  restarts([](Json& head) { head["run"].erase("weights"); });
  restarts([](Json& head) { head["run"]["weights"] = {{"a", 1}, {"b", 2}}; });
  restarts([](Json& head) { head["run"]["weights"] = Json::array(); });

  const auto goes_on = [&](int64_t resumed, const std::function<void(std::vector<Json>&)>& change) {
    rewrite(change);
    EXPECT_EQ(Quantize("out").resumed_layers, resumed);
    ExpectIdenticalOutput();
  };
  goes_on(0, [](auto& records) { records[1] = {{"calibration", {{99999999}}}}; });
  goes_on(0, [](auto& records) { records[1] = Json::object(); });
  goes_on(1, [](auto& records) { records[3] = 5; });
  goes_on(1, [](auto& records) { records[3]["result"]["sites"].clear(); });
  goes_on(1, [](auto& records) { records[3]["tensors"][0]["shape"] = {1, 1}; });
  goes_on(1, [](auto& records) { records[3] = records[2]; });
  goes_on(3, [](auto& records) { records[4]["hidden"] = 1; });
  goes_on(3, [](auto& records) { records.push_back(records[4]); });

  LeaveLayers(3);  // no JSON, with its checksum
  const std::string text = "{";
  std::ofstream(work_ / "journal", std::ios::app)
      << fmt::format("{:08x} {}\n", Checksum(text), text);
  EXPECT_EQ(Quantize("out").resumed_layers, 3);
  ExpectIdenticalOutput();
}

TEST_F(RunStateTest, IsForOneProcessAtATime) {
  const pid_t child = fork();
  if (child == 0) {
    Quantize("out", /*restart=*/false, /*threads=*/1,
             [&](std::string_view, int64_t, int64_t) { kill(getpid(), SIGSTOP); });
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  EXPECT_ERROR("another process is at work", Quantize("out"));
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  Quantize("out");
  ExpectIdenticalOutput();
}

}  // namespace
}  // namespace fptq
