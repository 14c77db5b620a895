#include "base/json.h"

#include <cmath>
#include <unordered_map>
#include <utility>

#include "base/error.h"

namespace fptq {
namespace {

constexpr size_t kMaxDepth = 128;

// A value as it may stand in a message: short, on one line, never throwing.
std::string Excerpt(const Json& value) {
  constexpr size_t kMaxLength = 60;
  if (value.is_structured()) return value.type_name();
  const std::string text = DumpJson(value);
  return text.size() <= kMaxLength ? text : text.substr(0, kMaxLength) + "...";
}

// Builds the value while parsing. The library's own builder looks each key up among those before
// it, which takes seconds for a vocabulary; here an object's keys are compared once, by hash, when
// it ends.
class JsonBuilder : public nlohmann::json_sax<Json> {
 public:
  JsonBuilder(std::string_view where, DuplicateKeys duplicates)
      : where_(where), duplicates_(duplicates) {}

  Json TakeResult() { return std::move(result_); }

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return Add(value); }
  bool number_unsigned(number_unsigned_t value) override { return Add(value); }
  bool number_float(number_float_t value, const string_t&) override { return Add(value); }
  bool string(string_t& value) override { return Add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // not in JSON text
  bool key(string_t& name) override {
    open_.back()->get_ref<Json::object_t&>().emplace_back(std::move(name), nullptr);
    return true;
  }
  bool start_object(size_t) override { return Open(Json::object()); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_object() override {
    CheckKeys(*open_.back());
    open_.pop_back();
    return true;
  }
  bool end_array() override {
    open_.pop_back();
    return true;
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& e) override {
    // "[json.exception...] parse error at line 1, column 2: REASON; last read: '...'", the last of
    // any length
    std::string_view reason = e.what();
    if (const size_t colon = reason.find(": "); colon != reason.npos) {
      reason.remove_prefix(colon + 2);
    }
    reason = reason.substr(0, reason.find("; last read"));
    throw Error("{}: not JSON at byte {}: {}", where_, position, reason);
  }

 private:
  // The innermost open array or object takes the value; an object's place was made by its key.
  Json* Place(Json value) {
    if (open_.empty()) {
      result_ = std::move(value);
      return &result_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) return &parent.get_ref<Json::array_t&>().emplace_back(std::move(value));
    Json& place = parent.get_ref<Json::object_t&>().back().second;
    place = std::move(value);
    return &place;
  }
  bool Add(Json value) {
    Place(std::move(value));
    return true;
  }
  bool Open(Json container) {
    if (open_.size() == kMaxDepth) throw Error("{}: JSON nested deeper than {}", where_, kMaxDepth);
    open_.push_back(Place(std::move(container)));
    return true;
  }

  void CheckKeys(Json& object) const {
    auto& fields = object.get_ref<Json::object_t&>();
    std::unordered_map<std::string_view, const Json*> last;
    for (const auto& [name, value] : fields) last[name] = &value;
    if (last.size() == fields.size()) return;
    Json::object_t unique;
    for (auto& [name, value] : fields) {
      if (last[name] == &value) {
        unique.emplace_back(name, std::move(value));
      } else if (duplicates_ == DuplicateKeys::kError) {
        throw Error("{}: the name '{}' stands there twice", where_, name);
      }
    }
    object = std::move(unique);
  }

  std::string_view where_;
  DuplicateKeys duplicates_;
  Json result_;
  std::vector<Json*> open_;  // a parent does not grow while its child is open, so these stay valid
};

}  // namespace

Json ParseJson(std::string_view text, std::string_view where, DuplicateKeys duplicates) {
  JsonBuilder builder(where, duplicates);
  Json::sax_parse(text.begin(), text.end(), &builder);
  return builder.TakeResult();
}

std::string DumpJson(const Json& json, int indent) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

JsonFields::JsonFields(const Json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object.is_object()) {
    throw Error("{}: expected an object, found {}", where_, object.type_name());
  }
}

bool JsonFields::Has(std::string_view name) const {
  const auto it = object_.find(name);
  return it != object_.end() && !it->is_null();
}

bool JsonFields::IsNull(std::string_view name) const {
  const auto it = object_.find(name);
  return it != object_.end() && it->is_null();
}

const Json& JsonFields::Value(std::string_view name) const {
  const auto it = object_.find(name);
  if (it == object_.end() || it->is_null()) throw Error("{}: '{}' is missing", where_, name);
  return *it;
}

int64_t JsonFields::Int(std::string_view name, int64_t min, int64_t max) const {
  const Json& field = Value(name);
  const bool fits = field.is_number_integer() &&
                    (!field.is_number_unsigned() || std::in_range<int64_t>(field.get<uint64_t>()));
  const int64_t value = fits ? field.get<int64_t>() : 0;
  if (!fits || value < min || value > max) {
    throw Error("{}: '{}': expected an integer from {} to {}, found {}", where_, name, min, max,
                Excerpt(field));
  }
  return value;
}

int64_t JsonFields::IntOr(std::string_view name, int64_t otherwise, int64_t min,
                          int64_t max) const {
  return Has(name) ? Int(name, min, max) : otherwise;
}

double JsonFields::Double(std::string_view name) const {
  const Json& field = Value(name);
  if (!field.is_number() || !std::isfinite(field.get<double>())) {
    throw Error("{}: '{}': expected a number, found {}", where_, name, Excerpt(field));
  }
  return field.get<double>();
}

double JsonFields::DoubleOr(std::string_view name, double otherwise) const {
  return Has(name) ? Double(name) : otherwise;
}

bool JsonFields::BoolOr(std::string_view name, bool otherwise) const {
  if (!Has(name)) return otherwise;
  const Json& field = Value(name);
  if (!field.is_boolean()) {
    throw Error("{}: '{}': expected true or false, found {}", where_, name, Excerpt(field));
  }
  return field.get<bool>();
}

std::string JsonFields::String(std::string_view name) const {
  const Json& field = Value(name);
  if (!field.is_string()) {
    throw Error("{}: '{}': expected a string, found {}", where_, name, Excerpt(field));
  }
  return field.get<std::string>();
}

std::string JsonFields::StringOr(std::string_view name, std::string_view otherwise) const {
  return Has(name) ? String(name) : std::string(otherwise);
}

const Json& JsonFields::Object(std::string_view name) const {
  const Json& field = Value(name);
  if (!field.is_object()) {
    throw Error("{}: '{}': expected an object, found {}", where_, name, Excerpt(field));
  }
  return field;
}

const Json& JsonFields::Array(std::string_view name) const {
  const Json& field = Value(name);
  if (!field.is_array()) {
    throw Error("{}: '{}': expected an array, found {}", where_, name, Excerpt(field));
  }
  return field;
}

}  // namespace fptq
