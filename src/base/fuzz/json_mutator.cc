#include "base/fuzz/json_mutator.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace fptq {
namespace {

std::optional<Json> Parse(std::string_view text) {
  try {
    return ParseJson(text, "");
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string Text(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  size_t Below(size_t count) { return random_() % count; }
  bool OneIn(size_t count) { return Below(count) == 0; }

  // A value anywhere in `root`. It is found by descending, so that a large vocabulary is not chosen
  // more often than the fields beside it.
  Json& Pick(Json& root) {
    Json* value = &root;
    while (value->is_structured() && !value->empty() && !OneIn(5)) value = &Member(*value);
    return *value;
  }

  // The fields of all objects that Pick would give with such a name; else a value of any.
  Json& PickNamed(Json& root, const std::string& name) {
    constexpr int kTries = 16;
    for (int i = 0; i < kTries; ++i) {
      Json& value = Pick(root);
      if (value.is_object() && value.contains(name)) return value[name];
    }
    return Pick(root);
  }

  Json& Member(Json& container) {
    if (container.is_array()) return container[Below(container.size())];
    return Field(Fields(container), Below(container.size())).second;
  }

  static Json::object_t& Fields(Json& object) { return object.get_ref<Json::object_t&>(); }
  static Json::object_t::value_type& Field(Json::object_t& fields, size_t i) {
    return *(fields.begin() + static_cast<std::ptrdiff_t>(i));
  }

  void Mutate(Json& value, std::span<const std::string> words,
              size_t (*mutate_bytes)(uint8_t*, size_t, size_t)) {
    if (OneIn(4)) {
      value = Interesting(words);
    } else if (value.is_object()) {
      MutateObject(value, words);
    } else if (value.is_array()) {
      MutateArray(value, words);
    } else if (value.is_string()) {
      MutateString(value.get_ref<std::string&>(), words, mutate_bytes);
    } else if (value.is_boolean()) {
      value = !value.get<bool>();
    } else if (value.is_number()) {
      MutateNumber(value);
    } else {
      value = Interesting(words);
    }
  }

 private:
  std::string Word(std::span<const std::string> words) {
    return words.empty() ? "x" : words[Below(words.size())];
  }

  Json Interesting(std::span<const std::string> words) {
    constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
    static const Json kValues = {
        0,
        1,
        -1,
        2,
        3,
        4,
        7,
        8,
        16,
        31,
        32,
        33,
        63,
        64,
        127,
        128,
        255,
        256,
        1000,
        65536,
        1 << 22,
        INT32_MAX,
        -kMax - 1,
        int64_t{1} << 32,
        kMax,
        UINT64_MAX,
        INT32_MIN,
        int64_t{1} << 53,
        0.0,
        -0.0,
        0.5,
        -1.5,
        1e-45,
        1e-320,
        3.4e38,
        1e39,
        1e308,
        true,
        false,
        nullptr,
        "",
        " ",
        "\xEF\xBF\xBD",
        Json::array(),
        "Linear",
        "re:.*",
        "re:(a|b|ab)*c",
        Json::object(),
        Json::array({Json::array()}),
    };
    if (OneIn(4)) return Word(words);
    return kValues[Below(kValues.size())];
  }

  void MutateObject(Json& object, std::span<const std::string> words) {
    Json::object_t& fields = Fields(object);
    if (fields.empty() || OneIn(3)) {
      object[Word(words)] = Interesting(words);
      return;
    }
    const size_t i = Below(fields.size()), j = Below(fields.size());
    switch (Below(4)) {
      case 0:
        fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(i));
        break;
      case 1:
        std::swap(Field(fields, i).second, Field(fields, j).second);
        break;
      case 2:
        Field(fields, i).second = Json(Field(fields, j).second);
        break;
      default: {  // another name
        Json value = Field(fields, i).second;
        fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(i));
        object[Word(words)] = std::move(value);
      }
    }
  }

  void MutateArray(Json& array, std::span<const std::string> words) {
    if (array.empty()) {
      array.push_back(Interesting(words));
      return;
    }
    const size_t i = Below(array.size()), j = Below(array.size());
    switch (Below(6)) {
      case 0:
        array.erase(array.begin() + static_cast<std::ptrdiff_t>(i));
        break;
      case 1:
        std::swap(array[i], array[j]);
        break;
      case 2:
        array[i] = Json(array[j]);
        break;
      case 3:
        array.push_back(Json(array[i]));
        break;
      case 4: {
        constexpr size_t kCopies = 40, kMaxSize = 2000;
        const Json value = array[i];
        for (size_t copy = 0; copy < kCopies && array.size() < kMaxSize; ++copy) {
          array.push_back(value);
        }
        break;
      }
      default:
        array.push_back(Interesting(words));
    }
  }

  void MutateString(std::string& text, std::span<const std::string> words,
                    size_t (*mutate_bytes)(uint8_t*, size_t, size_t)) {
    constexpr size_t kRoom = 64;
    if (OneIn(8)) {
      text = Word(words);
      return;
    }
    const size_t size = text.size();
    text.resize(size + kRoom);
    text.resize(mutate_bytes(reinterpret_cast<uint8_t*>(text.data()), size, text.size()));
  }

  void MutateNumber(Json& value) {
    if (value.is_number_float()) {
      const double x = value.get<double>();
      const double values[] = {-x, x * 2, x / 2, x * x, x + 1, 1 / x, x * 1e30, x * 1e-30};
      value = values[Below(std::size(values))];
      return;
    }
    const auto x = value.get<uint64_t>();
    const uint64_t values[] = {x + 1, x - 1, x * 2, x / 2, x + 32, x ^ (uint64_t{1} << Below(64)),
                               0 - x};
    value = static_cast<int64_t>(values[Below(std::size(values))]);
    if (OneIn(8)) value = value.get<double>();
  }

  std::minstd_rand random_;
};

}  // namespace

std::optional<std::string> MutateJson(std::string_view text, std::span<const std::string> words,
                                      unsigned seed,
                                      size_t (*mutate_bytes)(uint8_t*, size_t, size_t)) {
  std::optional<Json> json = Parse(text);
  if (!json) return std::nullopt;
  Mutator mutator(seed);
  do {
    if (mutator.OneIn(8)) {
      const Json copy = mutator.Pick(*json);
      mutator.Pick(*json) = copy;
    } else {
      mutator.Mutate(mutator.Pick(*json), words, mutate_bytes);
    }
  } while (mutator.OneIn(2));
  return Text(*json);
}

std::optional<std::string> CrossJson(std::string_view text, std::string_view other, unsigned seed) {
  std::optional<Json> json = Parse(text), from = Parse(other);
  if (!json || !from) return std::nullopt;
  Mutator mutator(seed);
  Json& container = mutator.Pick(*from);
  if (container.is_object() && !container.empty()) {
    const auto& [name, value] =
        Mutator::Field(Mutator::Fields(container), mutator.Below(container.size()));
    Json& place = mutator.Pick(*json);
    if (place.is_object()) {
      place[name] = value;
    } else {
      mutator.PickNamed(*json, name) = value;
    }
  } else {
    mutator.Pick(*json) = container;
  }
  return Text(*json);
}

}  // namespace fptq
