#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "text/byte_level.h"
#include "text/decoder.h"
#include "text/vocabulary.h"

namespace fptq {
namespace {

// "a b" or ["a", "b"].
std::pair<std::string, std::string> ParseMerge(const Json& merge, const std::string& where) {
  if (merge.is_string()) {
    const auto& text = merge.get_ref<const std::string&>();
    const size_t space = text.find(' ');
    if (space != text.npos && text.find(' ', space + 1) == text.npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
             merge[1].is_string()) {
    return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  }
  throw Error("{}: expected a merge to be \"a b\" or [\"a\", \"b\"], found {}", where,
              merge.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80));
}

void CheckSupported(const JsonFields& model) {
  if (model.DoubleOr("dropout", 0) != 0) {
    throw Error("{}: dropout is not supported", model.where());
  }
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.StringOr(affix, "").empty()) {
      throw Error("{}: {} is not supported", model.where(), affix);
    }
  }
}

}  // namespace

Bpe::MergeTable::MergeTable(size_t pairs)
    : slots_(std::bit_ceil(2 * pairs + 2)), shift_(64 - std::countr_zero(slots_.size())) {}

size_t Bpe::MergeTable::Probe(uint64_t key) const {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio: Fibonacci hashing
  size_t slot = static_cast<size_t>((key * kGolden) >> shift_);
  while (slots_[slot].key != key && slots_[slot].key != kEmpty) {
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

void Bpe::MergeTable::Set(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = static_cast<uint64_t>(left) << 32 | static_cast<uint64_t>(right);
  slots_[Probe(key)] = {key, merge};
}

const Bpe::Merge* Bpe::MergeTable::Find(int32_t left, int32_t right) const {
  const uint64_t key = static_cast<uint64_t>(left) << 32 | static_cast<uint64_t>(right);
  const Slot& slot = slots_[Probe(key)];
  return slot.key == key ? &slot.merge : nullptr;
}

Bpe::Bpe(const Json& model, Parts parts, const std::string& where) : parts_(parts) {
  const JsonFields fields(model, where);
  CheckSupported(fields);
  ReadVocab(model, where);
  ReadMerges(model, where);
  FindByteTokens(fields);
  if (fields.Has("unk_token")) {
    const std::string token = fields.String("unk_token");
    unknown_ = vocab_.Find(token);
    if (!unknown_) throw Error("{}: unk_token '{}' is not in vocab", where, token);
    fuse_unknown_ = fields.BoolOr("fuse_unk", false);
  }
  FindWholeWords(fields.BoolOr("ignore_merges", false));
}

void Bpe::ReadVocab(const Json& model, const std::string& where) {
  const auto& vocab = JsonFields(model, where).Object("vocab").get_ref<const Json::object_t&>();
  std::vector<const std::string*> token_of_id;
  vocab_ = TokenMap(vocab.size());
  const int64_t limit = TokenIdLimit(vocab.size());
  for (const auto& [token, value] : vocab) {
    const bool valid =
        value.is_number_integer() && value.get<int64_t>() >= 0 && value.get<int64_t>() < limit;
    if (!valid) {
      throw Error("{}: vocab: token '{}': expected an id from 0 to {} beside {} tokens, found {}",
                  where, token, limit - 1, vocab.size(), value.dump());
    }
    const auto id = value.get<size_t>();
    if (id >= token_of_id.size()) token_of_id.resize(id + 1);
    if (token_of_id[id] != nullptr) {
      throw Error("{}: vocab: tokens '{}' and '{}' have the same id {}", where, *token_of_id[id],
                  token, id);
    }
    token_of_id[id] = &token;
    vocab_.Add(token, static_cast<int32_t>(id));
  }
}

void Bpe::ReadMerges(const Json& model, const std::string& where) {
  const Json& merges = JsonFields(model, where).Array("merges");
  if (merges.size() > size_t{std::numeric_limits<int32_t>::max()}) {
    throw Error("{}: {} merges are too many", where, merges.size());
  }
  merges_ = MergeTable(merges.size());
  int32_t rank = 0;
  for (const Json& merge : merges) {
    const auto [left, right] = ParseMerge(merge, where);
    const auto id = [&](const std::string& token) {
      const std::optional<int32_t> found = vocab_.Find(token);
      if (!found) {
        throw Error("{}: merge {} ('{}' + '{}'): token '{}' is not in vocab", where, rank, left,
                    right, token);
      }
      return *found;
    };
    const int32_t left_id = id(left);
    const int32_t right_id = id(right);
    merges_.Set(left_id, right_id, {rank, id(left + right)});
    ++rank;
  }
}

void Bpe::FindByteTokens(const JsonFields& model) {
  byte_ids_.fill(-1);
  const bool fallback = model.BoolOr("byte_fallback", false);
  if (parts_ == Parts::kBytes && fallback) {
    throw Error("{}: byte_fallback with a byte-level vocabulary is not supported", model.where());
  }
  if (parts_ == Parts::kCharacters && !fallback) return;
  for (size_t i = 0; i < byte_ids_.size(); ++i) {
    const auto byte = static_cast<uint8_t>(i);
    byte_ids_[i] = vocab_.Find(parts_ == Parts::kBytes ? ByteLevelCharacter(byte) : ByteToken(byte))
                       .value_or(-1);
  }
}

// Words that come out as one token need no merging. `ignore_merges`: every token of the vocabulary
// is such a word, reached by merges or not.
void Bpe::FindWholeWords(bool ignore_merges) {
  TokenMap whole_words;
  Scratch scratch;
  std::vector<int32_t> ids;
  // Without a pre-tokenizer whole texts are words, and seldom one token.
  if (parts_ == Parts::kCharacters && !ignore_merges) return;
  for (size_t i = 0; i < vocab_.size(); ++i) {
    const std::string token(vocab_.token(i));
    const int32_t id = vocab_.id(i);
    const std::optional<std::string> bytes =
        parts_ == Parts::kBytes ? ByteLevelDecode(token) : token;
    if (!bytes || bytes->empty()) continue;
    if (!ignore_merges) {
      ids.clear();
      Encode(*bytes, scratch, ids);
      if (ids.size() != 1 || ids.front() != id) continue;
    }
    whole_words.Add(*bytes, id);
  }
  whole_words_ = std::move(whole_words);
}

void Bpe::Encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const {
  if (const std::optional<int32_t> id = whole_words_.Find(word)) {
    ids.push_back(*id);
    return;
  }
  if (word.size() > size_t{std::numeric_limits<int32_t>::max()}) {
    throw Error("tokenizer: a word of {} bytes is too long", word.size());
  }
  Split(word, scratch.symbols_);
  MergeAll(scratch);
  for (const Symbol& symbol : scratch.symbols_) {
    if (symbol.id >= 0) ids.push_back(symbol.id);
  }
}

// One symbol for each part; parts that are not in the vocabulary vanish if there is no unknown
// token.
void Bpe::Split(std::string_view word, std::vector<Symbol>& symbols) const {
  symbols.clear();
  const auto add = [&](int32_t id) {
    const auto position = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, position - 1, position + 1});
  };
  bool after_unknown = false;
  const auto add_unknown = [&] {
    if (unknown_ && !(after_unknown && fuse_unknown_)) add(*unknown_);
    after_unknown = true;
  };
  const auto byte_id = [&](char byte) { return byte_ids_[static_cast<uint8_t>(byte)]; };
  const auto is_absent = [&](char byte) { return byte_id(byte) < 0; };
  for (size_t length = 1; !word.empty(); word.remove_prefix(length)) {
    if (parts_ == Parts::kCharacters) {
      length = std::max<size_t>(1, static_cast<size_t>(Utf8CharLength(word)));
    }
    const std::string_view part = word.substr(0, length);
    const std::optional<int32_t> id =
        parts_ == Parts::kCharacters ? vocab_.Find(part) : std::nullopt;
    if (id) {
      add(*id);
    } else if (std::any_of(part.begin(), part.end(), is_absent)) {
      add_unknown();
      continue;
    } else {
      for (const char byte : part) add(byte_id(byte));
    }
    after_unknown = false;
  }
  if (!symbols.empty()) symbols.back().next = -1;
}

void Bpe::MergeAll(Scratch& scratch) const {
  auto& symbols = scratch.symbols_;
  auto& heap = scratch.heap_;
  const auto at = [&](int32_t position) -> Symbol& {
    return symbols[static_cast<size_t>(position)];
  };
  const auto later = [](const Candidate& a, const Candidate& b) {
    return std::pair(a.merge.rank, a.position) > std::pair(b.merge.rank, b.position);
  };
  heap.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    const Merge* merge = merges_.Find(symbols[i].id, symbols[i + 1].id);
    if (merge != nullptr) heap.push_back({*merge, static_cast<int32_t>(i)});
  }
  std::make_heap(heap.begin(), heap.end(), later);
  const auto push = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0) return;
    const Merge* merge = merges_.Find(at(left).id, at(right).id);
    if (merge == nullptr) return;
    heap.push_back({*merge, left});
    std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    const Candidate top = heap.front();
    std::pop_heap(heap.begin(), heap.end(), later);
    heap.pop_back();
    // Earlier merges may have taken either side.
    Symbol& left = at(top.position);
    if (left.id < 0 || left.next < 0) continue;
    Symbol& right = at(left.next);
    const Merge* merge = merges_.Find(left.id, right.id);
    if (merge == nullptr || merge->id != top.merge.id) continue;
    left.id = merge->id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) at(left.next).previous = top.position;
    push(left.previous, top.position);
    push(top.position, left.next);
  }
}

}  // namespace fptq
