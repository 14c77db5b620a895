#include <algorithm>
#include <limits>

#include "text/jinja/characters.h"
#include "text/jinja/format.h"
#include "text/jinja/methods.h"
#include "text/jinja/operators.h"
#include "text/jinja/printing.h"
#include "text/jinja/search.h"
#include "text/jinja/text_ops.h"

namespace fptq::jinja {
namespace {

const Text& SelfText(const Value& self) { return self.AsString()->text; }

// A string of the object's kind.
Value Like(Heap& heap, const Value& self, Text text) {
  return heap.MakeString(std::move(text), self.AsString()->markup);
}
Value Like(Heap& heap, const Value& self, TextView text) { return Like(heap, self, Text(text)); }

Value ListLike(Heap& heap, const Value& self, const std::vector<TextView>& pieces) {
  std::vector<Value> items;
  for (const TextView piece : pieces) items.push_back(Like(heap, self, piece));
  return heap.MakeList(std::move(items));
}

template <Text (*map)(TextView)>
Value MapAll(Heap& heap, const Value& self, Arguments& arguments) {
  arguments.Finish();
  heap.Work(SelfText(self).size());
  return Like(heap, self, map(SelfText(self)));
}

Text Titled(TextView text) {
  Text out;
  bool in_word = false;
  for (size_t i = 0; i < text.size(); ++i) {
    out += in_word ? LowerAt(text, i) : TitleCase(text[i]);
    in_word = IsCased(text[i]);
  }
  return out;
}

Text SwappedCase(TextView text) {
  Text out;
  for (size_t i = 0; i < text.size(); ++i) {
    out += IsUpper(text[i])   ? LowerAt(text, i)
           : IsLower(text[i]) ? Upper(text.substr(i, 1))
                              : Text(text.substr(i, 1));
  }
  return out;
}

template <bool left, bool right>
Value StripMethod(Heap& heap, const Value& self, Arguments& arguments) {
  const std::optional<Value> chars = arguments.Take();
  arguments.Finish();
  const TextView text = SelfText(self);
  if (!chars || chars->IsNone()) {
    heap.Copy(text.size());
    return Like(heap, self, Strip(text, left, right));
  }
  heap.Work(text.size() + ToText(*chars).size());
  return Like(heap, self, StripAny(text, ToText(*chars), left, right));
}

template <bool prefix>
bool HasAffix(TextView text, const Value& affix) {
  return prefix ? text.starts_with(ToText(affix)) : text.ends_with(ToText(affix));
}

// text[start:end], where a start beyond the end finds nothing.
std::optional<TextView> Range(TextView text, Arguments& arguments, size_t* offset) {
  const auto size = std::ssize(text);
  const auto bound = [&](int64_t otherwise) {
    const std::optional<Value> value = arguments.Take();
    if (!value || value->IsNone()) return otherwise;
    const int64_t i = ToInt(*value);
    return i < 0 ? std::max<int64_t>(i, -size) + size : i;
  };
  const int64_t begin = bound(0);
  const int64_t end = std::min<int64_t>(bound(size), size);
  arguments.Finish();
  *offset = static_cast<size_t>(begin);
  if (begin > end || begin > size) return std::nullopt;
  return text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
}

template <bool prefix>
Value HasAffixMethod(Heap& heap, const Value& self, Arguments& arguments) {
  const Value affix = arguments.Expect();
  size_t offset = 0;
  const std::optional<TextView> text = Range(SelfText(self), arguments, &offset);
  heap.Copy(ExtentOf(affix).size);
  const Sequence* several = affix.AsSequence();
  if (several == nullptr || several->kind != Sequence::Kind::kTuple) {
    ToText(affix);
    return text && HasAffix<prefix>(*text, affix);
  }
  return text && std::ranges::any_of(several->items,
                                     [&](const Value& a) { return HasAffix<prefix>(*text, a); });
}

template <bool prefix>
Value RemoveAffixMethod(Heap& heap, const Value& self, Arguments& arguments) {
  const Value affix = arguments.Expect();
  arguments.Finish();
  TextView text = SelfText(self);
  if (HasAffix<prefix>(text, affix)) {
    prefix ? text.remove_prefix(ToText(affix).size()) : text.remove_suffix(ToText(affix).size());
  }
  return Like(heap, self, text);
}

enum class Missing { kMinusOne, kFailure };

template <bool from_right, Missing missing>
Value FindMethodOf(Heap& heap, const Value& self, Arguments& arguments) {
  const Value part_value = arguments.Expect();
  const TextView part = ToText(part_value);
  size_t offset = 0;
  const std::optional<TextView> text = Range(SelfText(self), arguments, &offset);
  std::optional<size_t> found;
  if (text && part.empty()) {
    found = from_right ? text->size() : 0;
  } else if (text) {
    const std::vector<size_t> all = FindAll(heap, *text, part, 1, from_right);
    if (!all.empty()) found = all[0];
  }
  if (found) return static_cast<int64_t>(offset + *found);
  if (missing == Missing::kFailure) throw Failure("substring not found");
  return int64_t{-1};
}

Value Count(Heap& heap, const Value& self, Arguments& arguments) {
  const Value part = arguments.Expect();
  size_t offset = 0;
  const std::optional<TextView> text = Range(SelfText(self), arguments, &offset);
  if (!text) return int64_t{0};
  if (ToText(part).empty()) return std::ssize(*text) + 1;
  return std::ssize(FindAll(heap, *text, ToText(part), text->size()));
}

Value Replace(Heap& heap, const Value& self, Arguments& arguments) {
  const Value old_value = arguments.Expect();
  const Value new_value = arguments.Expect();
  const int64_t count = arguments.TakeInt(-1, "count");
  arguments.Finish();
  const bool markup = self.AsString()->markup;
  const bool escape = markup && new_value.AsString() != nullptr && !new_value.AsString()->markup;
  return Like(heap, self,
              ReplaceText(heap, SelfText(self), ToText(old_value),
                          escape ? EscapeHtml(heap, ToText(new_value)) : ToText(new_value), count));
}

std::vector<TextView> SplitAt(TextView text, std::vector<size_t> at, size_t length) {
  std::ranges::sort(at);
  std::vector<TextView> pieces;
  size_t begin = 0;
  for (const size_t i : at) {
    pieces.push_back(text.substr(begin, i - begin));
    begin = i + length;
  }
  pieces.push_back(text.substr(begin));
  return pieces;
}

// Words between white space; after `most` splits the rest is one.
std::vector<TextView> SplitWords(TextView text, size_t most, bool from_right) {
  std::vector<TextView> pieces;
  text = Strip(text, !from_right, from_right);
  while (!text.empty() && pieces.size() < most) {
    if (from_right) {
      const auto space = std::find_if(text.rbegin(), text.rend(), IsSpace);
      const auto length = static_cast<size_t>(space - text.rbegin());
      pieces.push_back(text.substr(text.size() - length));
      text.remove_suffix(length);
    } else {
      const auto space = std::find_if(text.begin(), text.end(), IsSpace);
      const auto length = static_cast<size_t>(space - text.begin());
      pieces.push_back(text.substr(0, length));
      text.remove_prefix(length);
    }
    text = Strip(text, !from_right, from_right);
  }
  if (!text.empty()) pieces.push_back(text);  // with the white space at its far end
  if (from_right) std::ranges::reverse(pieces);
  return pieces;
}

template <bool from_right>
Value Split(Heap& heap, const Value& self, Arguments& arguments) {
  const std::optional<Value> separator = arguments.Take("sep");
  const int64_t most = arguments.TakeInt(-1, "maxsplit");
  arguments.Finish();
  const TextView text = SelfText(self);
  const size_t limit = most < 0 ? std::numeric_limits<size_t>::max() : static_cast<size_t>(most);
  if (!separator || separator->IsNone()) {
    heap.Work(text.size());
    return ListLike(heap, self, SplitWords(text, limit, from_right));
  }
  const TextView part = ToText(*separator);
  if (part.empty()) throw Failure("the separator of split is empty");
  return ListLike(heap, self,
                  SplitAt(text, FindAll(heap, text, part, limit, from_right), part.size()));
}

template <bool from_right>
Value Partition(Heap& heap, const Value& self, Arguments& arguments) {
  const Value separator = arguments.Expect();
  arguments.Finish();
  const TextView text = SelfText(self), part = ToText(separator);
  if (part.empty()) throw Failure("the separator of partition is empty");
  const std::vector<size_t> at = FindAll(heap, text, part, 1, from_right);
  const Value whole = Like(heap, self, text), none = Like(heap, self, TextView());
  if (at.empty()) {
    return heap.MakeTuple(from_right ? std::vector{none, none, whole}
                                     : std::vector{whole, none, none});
  }
  return heap.MakeTuple({Like(heap, self, text.substr(0, at[0])), separator,
                         Like(heap, self, text.substr(at[0] + part.size()))});
}

Value SplitLinesMethod(Heap& heap, const Value& self, Arguments& arguments) {
  const bool keep_ends = arguments.TakeBool(false, "keepends");
  arguments.Finish();
  heap.Work(SelfText(self).size());
  return ListLike(heap, self, SplitLines(SelfText(self), keep_ends));
}

Value JoinMethod(Heap& heap, const Value& self, Arguments& arguments) {
  const Value items = arguments.Expect();
  arguments.Finish();
  CheckDefined(items);
  const bool markup = self.AsString()->markup;
  Text out;
  bool first = true;
  for (const Value& item : Iterate(heap, items)) {
    const Text& text = ToText(item);
    heap.Copy(text.size());
    heap.CheckCharacters(out.size() + SelfText(self).size() + 5 * text.size());
    if (!std::exchange(first, false)) out += SelfText(self);
    out += markup && !item.AsString()->markup ? EscapeHtml(heap, text) : text;
  }
  return Like(heap, self, std::move(out));
}

Value Format(Heap& heap, const Value& self, Arguments& arguments) {
  return FormatBraces(heap, self, arguments);
}

Value FormatMap(Heap& heap, const Value& self, Arguments& arguments) {
  const Value values = arguments.Expect();
  arguments.Finish();
  if (values.AsDict() == nullptr) throw Failure("format_map needs a mapping");
  Arguments named;
  for (const auto& [key, value] : values.AsDict()->items) {
    if (key.AsString() != nullptr) named.keywords.emplace_back(ToUtf8(ToText(key)), value);
  }
  return FormatBraces(heap, self, named);
}

template <char align>
Value Justify(Heap& heap, const Value& self, Arguments& arguments) {
  const int64_t width = ToInt(arguments.Expect());
  const std::optional<Value> fill = arguments.Take();
  arguments.Finish();
  if (fill && ToText(*fill).size() != 1) throw Failure("the fill is not one character");
  const char32_t c = fill ? ToText(*fill)[0] : U' ';
  return Like(heap, self,
              align == '^' ? Center(heap, SelfText(self), width, c)
                           : Pad(heap, SelfText(self), width, c, align));
}

Value ZeroFill(Heap& heap, const Value& self, Arguments& arguments) {
  const int64_t width = ToInt(arguments.Expect());
  arguments.Finish();
  const TextView text = SelfText(self);
  const bool sign = text.starts_with(U'-') || text.starts_with(U'+');
  const Text padded = Pad(heap, text.substr(sign ? 1 : 0), width - (sign ? 1 : 0), U'0', '>');
  return Like(heap, self, sign ? Text(text.substr(0, 1)) + padded : padded);
}

template <bool (*is)(char32_t)>
Value AllAre(Heap& heap, const Value& self, Arguments& arguments) {
  arguments.Finish();
  heap.Work(SelfText(self).size());
  return !SelfText(self).empty() && std::ranges::all_of(SelfText(self), is);
}

bool IsAlphanumeric(char32_t c) { return IsAlphabetic(c) || IsNumeric(c); }
bool IsAscii(char32_t c) { return CodePoint(c) < 0x80; }

template <bool (*is)(char32_t), bool (*is_not)(char32_t)>
Value CasedAre(Heap& heap, const Value& self, Arguments& arguments) {
  arguments.Finish();
  heap.Work(SelfText(self).size());
  return std::ranges::any_of(SelfText(self), is) && std::ranges::none_of(SelfText(self), is_not);
}

Value IsTitleMethod(Heap& heap, const Value& self, Arguments& arguments) {
  arguments.Finish();
  heap.Work(SelfText(self).size());
  bool after_cased = false, any = false;
  for (const char32_t c : SelfText(self)) {
    if ((IsUpper(c) || IsTitle(c)) && after_cased) return false;
    if (IsLower(c) && !after_cased) return false;
    after_cased = IsCased(c);
    any |= after_cased;
  }
  return any;
}

Value IsIdentifier(Heap&, const Value& self, Arguments& arguments) {
  arguments.Finish();
  const Text& text = SelfText(self);
  return !text.empty() && IsIdentifierStart(text[0]) && std::ranges::all_of(text, IsIdentifierPart);
}

struct Row {
  std::string_view name;
  Method method;
};
constexpr Row kMethods[] = {
    {"capitalize", MapAll<Capitalize>},
    {"center", Justify<'^'>},
    {"count", Count},
    {"endswith", HasAffixMethod<false>},
    {"find", FindMethodOf<false, Missing::kMinusOne>},
    {"format", Format},
    {"format_map", FormatMap},
    {"index", FindMethodOf<false, Missing::kFailure>},
    {"isalnum", AllAre<IsAlphanumeric>},
    {"isalpha", AllAre<IsAlphabetic>},
    {"isascii", AllAre<IsAscii>},
    {"isdecimal", AllAre<IsDecimal>},
    {"isdigit", AllAre<IsDigit>},
    {"isidentifier", IsIdentifier},
    {"islower", CasedAre<IsLower, IsUpper>},
    {"isnumeric", AllAre<IsNumeric>},
    {"isprintable", AllAre<IsPrintable>},
    {"isspace", AllAre<IsSpace>},
    {"istitle", IsTitleMethod},
    {"isupper", CasedAre<IsUpper, IsLower>},
    {"join", JoinMethod},
    {"ljust", Justify<'<'>},
    {"lower", MapAll<Lower>},
    {"lstrip", StripMethod<true, false>},
    {"partition", Partition<false>},
    {"removeprefix", RemoveAffixMethod<true>},
    {"removesuffix", RemoveAffixMethod<false>},
    {"replace", Replace},
    {"rfind", FindMethodOf<true, Missing::kMinusOne>},
    {"rindex", FindMethodOf<true, Missing::kFailure>},
    {"rjust", Justify<'>'>},
    {"rpartition", Partition<true>},
    {"rsplit", Split<true>},
    {"rstrip", StripMethod<false, true>},
    {"split", Split<false>},
    {"splitlines", SplitLinesMethod},
    {"startswith", HasAffixMethod<true>},
    {"strip", StripMethod<true, true>},
    {"swapcase", MapAll<SwappedCase>},
    {"title", MapAll<Titled>},
    {"upper", MapAll<Upper>},
    {"zfill", ZeroFill},
};

}  // namespace

Method FindStringMethod(std::string_view name) {
  const auto* row = std::ranges::find(kMethods, name, &Row::name);
  return row == std::end(kMethods) ? nullptr : row->method;
}

}  // namespace fptq::jinja
