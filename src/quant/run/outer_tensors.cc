#include "quant/run/outer_tensors.h"

#include <algorithm>
#include <span>
#include <utility>

#include "kernels/kernels.h"
#include "model/weights/float_layer.h"
#include "quant/round/group_quant.h"
#include "quant/round/nearest.h"
#include "quant/round/storage.h"

namespace fptq {
namespace {

constexpr int64_t kRows = 1024;  // written at a time

std::string ScaleName(const UsedTensor& tensor) { return ModuleOf(tensor) + ".weight_scale"; }

// Calls body(values) for some rows after the other, as Hugging Face has them.
template <typename Body>
void ForSomeRows(const UsedTensor& from, Body body) {
  const int64_t rows = from.tensor->shape[0], k = from.tensor->ElementCount() / rows;
  for (int64_t row = 0; row < rows; row += kRows) {
    AlignedBuffer<float> values(std::min(kRows, rows - row) * k);
    DequantizeRange(*from.tensor, row * k, values.span());
    for (float& value : values.span()) value -= from.less;
    body(std::move(values));
  }
}

void WriteIntegers(const UsedTensor& from, const LinearQuantization& how, DataType dtype,
                   ThreadPool& pool, ShardedWriter& writer) {
  const int64_t k = from.tensor->shape[1];
  const std::vector<float> ones(static_cast<size_t>(k), 1.0f);  // all inputs count alike
  std::vector<float> scales;
  ForSomeRows(from, [&](AlignedBuffer<float> values) {
    const SourceLinear rows = {.name = from.hf_name,
                               .channels = values.size() / k,
                               .k = k,
                               .weight = std::move(values),
                               .bias = {}};
    const GroupQuantized rounded =
        QuantizeNearest(rows, ones, how.weight_bits, {.size = k, .dtype = dtype}, pool);
    scales.insert(scales.end(), rounded.scales.begin(), rounded.scales.end());
    writer.Write(from.hf_name, std::as_bytes(std::span(rounded.q)));
  });
  const std::string name = ScaleName(from);
  writer.Write(name, StoreFloats(scales, dtype, name));
}

}  // namespace

std::optional<LinearQuantization> OuterQuantization(const ModelSource& source,
                                                    const QuantRecipe& recipe,
                                                    const UsedTensor& tensor) {
  LinearQuantization how = {.group_size = LinearQuantization::kWholeRow,
                            .weight_bits = 8,
                            .storage = WeightStorage::kInt8};
  if (GroupSizeFor(source.config().hidden, kMinGroupSize) == 0) return std::nullopt;
  const std::string module = ModuleOf(tensor);
  if (module == ModelSource::HfName(source.arch().embedding)) {
    return recipe.embedding_bits == 8 ? std::optional(how) : std::nullopt;
  }
  if (module != ModelSource::HfName(source.arch().head)) return std::nullopt;
  how.activations = ActivationQuantization::kDynamicToken;
  return recipe.head_bits == 8 && recipe.activation_bits == 8 ? std::optional(how) : std::nullopt;
}

std::string ModuleOf(const UsedTensor& tensor) {
  return tensor.hf_name.substr(0, tensor.hf_name.rfind('.'));
}

std::vector<SafetensorsWriter::Tensor> StoredAs(const UsedTensor& tensor,
                                                const std::optional<LinearQuantization>& how,
                                                DataType dtype) {
  const std::vector<int64_t>& shape = tensor.tensor->shape;
  if (!how) return {{tensor.hf_name, dtype, shape}};
  return {{tensor.hf_name, DataType::kI8, shape}, {ScaleName(tensor), dtype, {shape[0], 1}}};
}

void WriteOuterTensor(const UsedTensor& tensor, const std::optional<LinearQuantization>& how,
                      DataType dtype, ThreadPool& pool, ShardedWriter& writer) {
  if (how) {
    WriteIntegers(tensor, *how, dtype, pool, writer);
    return;
  }
  ForSomeRows(tensor, [&](const AlignedBuffer<float>& values) {
    writer.Write(tensor.hf_name, StoreFloats(values.span(), dtype, tensor.hf_name));
  });
}

}  // namespace fptq
