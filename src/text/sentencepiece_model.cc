// The library's interface tells neither the algorithm, nor the normalization, nor which pieces are
// user-defined, and all of them decide the tokens: we read the message itself.
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/utf8.h"
#include "text/sentencepiece.h"
#include "text/vocabulary.h"

namespace fptq {
namespace {

static_assert(std::endian::native == std::endian::little);

// Reads the fields of a message one by one.
class MessageReader {
 public:
  MessageReader(std::string_view bytes, std::string_view where) : rest_(bytes), where_(where) {}

  // False at the end. Then number(), and value() or bytes() of the field.
  bool Next() {
    if (rest_.empty()) return false;
    const uint64_t tag = Varint();
    number_ = tag >> 3;
    bytes_ = {};
    value_ = 0;
    switch (tag & 7) {
      case 0:
        value_ = Varint();
        break;
      case 1:
        bytes_ = Take(8);
        break;
      case 2:
        bytes_ = Take(Varint());
        break;
      case 5:
        bytes_ = Take(4);
        break;
      default:
        Fail();
    }
    return true;
  }
  uint64_t number() const { return number_; }
  int64_t value() const { return static_cast<int64_t>(value_); }
  std::string_view bytes() const { return bytes_; }
  float number_f32() const {
    if (bytes_.size() != sizeof(float)) Fail();
    float value;
    std::memcpy(&value, bytes_.data(), sizeof(value));
    return value;
  }

 private:
  [[noreturn]] void Fail() const {
    throw Error("{}: expected a SentencePiece model, found another kind of file", where_);
  }
  std::string_view Take(uint64_t size) {
    if (size > rest_.size()) Fail();
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(Take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    Fail();
  }

  std::string_view rest_;
  std::string_view where_;
  uint64_t number_ = 0;
  uint64_t value_ = 0;
  std::string_view bytes_;
};

// Field numbers of sentencepiece_model.proto.
void ReadPiece(MessageReader piece, std::string_view where, Vocabulary& vocabulary) {
  std::string text;
  float score = 0;
  int64_t type = 1;
  while (piece.Next()) {
    if (piece.number() == 1) text = ReplaceIllFormedUtf8(piece.bytes());
    if (piece.number() == 2) score = piece.number_f32();
    if (piece.number() == 3) type = piece.value();
  }
  if (type < 1 || type > 6 || text.empty()) {
    throw Error("{}: piece {}: expected a text and a type from 1 to 6, found '{}' and {}", where,
                vocabulary.tokens.size(), text, type);
  }
  if (std::ssize(vocabulary.tokens) == kMaxTokenIds) {
    throw Error("{}: more than {} pieces", where, kMaxTokenIds);
  }
  vocabulary.tokens.push_back(std::move(text));
  vocabulary.scores.push_back(score);
  vocabulary.types.push_back(static_cast<TokenType>(type));
}

void ReadTrainerSpec(MessageReader spec, std::string_view where, SentencePieceModel& model) {
  int64_t algorithm = 1;
  int64_t bos = 1, eos = 2;
  while (spec.Next()) {
    if (spec.number() == 3) algorithm = spec.value();
    if (spec.number() == 40) model.unknown = spec.value();
    if (spec.number() == 41) bos = spec.value();
    if (spec.number() == 42) eos = spec.value();
  }
  if (algorithm != 1 && algorithm != 2) {
    throw Error(
        "{}: a SentencePiece model of the type {} is not supported; known are 1 (Unigram) and 2 "
        "(BPE)",
        where, algorithm);
  }
  model.method.unigram = algorithm == 1;
  if (bos >= 0) model.bos = bos;  // -1: none
  if (eos >= 0) model.eos = eos;
}

void ReadNormalizerSpec(MessageReader spec, std::string_view where, SentencePieceModel& model) {
  bool escapes_spaces = true;
  model.method.removes_spaces = true;
  while (spec.Next()) {
    if (spec.number() == 2) model.method.character_map = spec.bytes();
    if (spec.number() == 3) model.add_dummy_prefix = spec.value() != 0;
    if (spec.number() == 4) model.method.removes_spaces = spec.value() != 0;
    if (spec.number() == 5) escapes_spaces = spec.value() != 0;
  }
  if (!escapes_spaces) throw Error("{}: expected escape_whitespaces true, found false", where);
}

void CheckIds(const SentencePieceModel& model, std::string_view where) {
  const int64_t pieces = std::ssize(model.vocabulary.tokens);
  for (const int64_t id : {model.unknown, model.bos.value_or(0), model.eos.value_or(0)}) {
    if (id < 0 || id >= pieces) {
      throw Error("{}: expected the special tokens among {} pieces, found id {}", where, pieces,
                  id);
    }
  }
}

}  // namespace

SentencePieceModel ParseSentencePieceModel(std::span<const std::byte> file,
                                           std::string_view where) {
  SentencePieceModel model;
  bool has_trainer_spec = false, has_normalizer_spec = false;
  MessageReader message({reinterpret_cast<const char*>(file.data()), file.size()}, where);
  while (message.Next()) {
    const MessageReader field(message.bytes(), where);
    if (message.number() == 1) ReadPiece(field, where, model.vocabulary);
    if (message.number() == 2) {
      ReadTrainerSpec(field, where, model);
      has_trainer_spec = true;
    }
    if (message.number() == 3) {
      ReadNormalizerSpec(field, where, model);
      has_normalizer_spec = true;
    }
  }
  if (!has_trainer_spec || !has_normalizer_spec) {
    throw Error("{}: expected a SentencePiece model, found another kind of file", where);
  }
  CheckIds(model, where);
  return model;
}

}  // namespace fptq
