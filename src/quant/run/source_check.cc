#include "quant/run/source_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "files/checksum.h"
#include "quant/round/storage.h"

namespace fptq {
namespace {

// Checks tensors of the source and gives their checksum, in parallel: both go over all bytes, and
// reading them is what takes the time.
uint32_t CheckUsed(const ModelSource& source, std::span<const UsedTensor> tensors, float largest,
                   ThreadPool& pool) {
  constexpr int64_t kPieceElements = int64_t{4} << 20;  // whole blocks of each type
  struct Piece {
    const UsedTensor* from;
    int64_t first, count;
  };
  std::vector<Piece> pieces;
  for (const UsedTensor& from : tensors) {
    const int64_t count = from.tensor->ElementCount();
    for (int64_t first = 0; first < count; first += kPieceElements) {
      pieces.push_back({&from, first, std::min(kPieceElements, count - first)});
    }
  }
  std::vector<uint32_t> checksums(pieces.size());
  pool.ParallelEach(std::ssize(pieces), [&](int64_t i) {
    const auto& [from, first, count] = pieces[static_cast<size_t>(i)];
    const TensorView& tensor = *from->tensor;
    const BlockSize block = BlockSizeOf(tensor.type);
    const auto bytes = [&](int64_t elements) {
      return static_cast<size_t>(elements / block.elements * block.bytes);
    };
    CheckFinite(tensor, first, count,
                fmt::format("{}: tensor '{}'", source.checkpoint().path().string(), from->name),
                largest);
    checksums[static_cast<size_t>(i)] = Checksum(tensor.bytes.subspan(bytes(first), bytes(count)));
  });
  return Checksum(std::as_bytes(std::span(checksums)));
}

}  // namespace

Json CheckWeights(const ModelSource& source, ThreadPool& pool, const Progress& progress) {
  const int64_t layers = source.config().layers;
  const auto report = [&](int64_t done) {
    if (progress) progress("reading the source", done, layers + 1);
  };
  report(0);
  // What stays float is stored in the model's type.
  const float largest = LargestStored(source.config().dtype);
  Json checksums = Json::array();
  checksums.push_back(CheckUsed(source, source.OuterTensors(), largest, pool));
  for (int64_t layer = 0; layer < layers; ++layer) {
    report(layer + 1);
    const uint32_t vectors = CheckUsed(source, source.LayerVectors(layer), largest, pool);
    const uint32_t matrices =
        CheckUsed(source, source.LayerMatrices(layer), std::numeric_limits<float>::max(), pool);
    checksums.push_back(Json::array({vectors, matrices}));
    source.checkpoint().ReleasePages();
  }
  return checksums;
}

}  // namespace fptq
