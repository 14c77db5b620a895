#include "model/weights/dequantized.h"

#include "base/error.h"
#include "io/packed_linear.h"

namespace fptq {
namespace {

SourceLinear Dequantized(const ModelSource& source, const LayerLinear& from) {
  const std::string module = source.Name(from);
  const auto how = source.quantized() ? source.quantization()->Find(module) : std::nullopt;
  if (!how) return ReadLinear(source, from);
  SourceLinear linear = {.name = ModelSource::HfName(from),
                         .channels = from.channels(source.config()),
                         .k = from.k(source.config()),
                         .weight = {},
                         .bias = {}};
  const PackedLinear packed =
      GetPackedLinear(source.checkpoint(), module, *how, linear.channels, linear.k);
  linear.weight.Resize(linear.channels * linear.k);
  for (int64_t channel = 0; channel < linear.channels; ++channel) {
    packed.DequantizeRow(channel,
                         linear.weight.span().subspan(static_cast<size_t>(channel * linear.k),
                                                      static_cast<size_t>(linear.k)));
  }
  return linear;
}

}  // namespace

std::vector<std::string> LinearNames(const ModelSource& source) {
  std::vector<std::string> names;
  for (int64_t layer = 0; layer < source.config().layers; ++layer) {
    for (const LayerLinear& linear : LinearsOf(source.config(), layer)) {
      names.push_back(ModelSource::HfName(linear));
    }
  }
  return names;
}

SourceLinear DequantizedLinear(const ModelSource& source, std::string_view name) {
  for (int64_t layer = 0; layer < source.config().layers; ++layer) {
    for (const LayerLinear& linear : LinearsOf(source.config(), layer)) {
      if (ModelSource::HfName(linear) == name) return Dequantized(source, linear);
    }
  }
  throw Error("{}: expected the name of a linear, as {}, found '{}'",
              source.checkpoint().path().string(), LinearNames(source).front(), name);
}

}  // namespace fptq
