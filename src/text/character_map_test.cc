#include "text/character_map.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/test_util.h"

namespace fptq {
namespace {

// "a" becomes "xyz", "b" nothing: the root's children lie at 0 ^ byte, their values where the unit
// says.
std::string SmallMap() {
  std::vector<uint32_t> units(256, 0);
  const auto add = [&](uint8_t byte, uint32_t offset, uint32_t value) {
    units[byte] = byte | 1u << 8 | offset << 10;
    units[byte ^ offset] = value | 1u << 31;
  };
  add('a', 0x80, 0);
  add('b', 0x90, 3);
  const auto size = static_cast<uint32_t>(4 * units.size());
  std::string bytes(reinterpret_cast<const char*>(&size), 4);
  bytes.append(reinterpret_cast<const char*>(units.data()), size);
  return bytes + std::string("xyz\0\0", 5);
}

constexpr size_t kAny = 1 << 20;

TEST(CharacterMapTest, RewritesGraphemesThenCharacters) {
  const CharacterMap map(SmallMap(), "f");
  EXPECT_EQ(map.Apply("cabc", kAny), "cxyzc");
  // The acute goes with its grapheme of 3 bytes, which begins with an entry; of one of 7 bytes each
  // character is looked up.
  EXPECT_EQ(map.Apply("a\xcc\x81", kAny), "xyz");
  EXPECT_EQ(map.Apply("a\xcc\x81\xcc\x81\xcc\x81", kAny), "xyz\xcc\x81\xcc\x81\xcc\x81");
  EXPECT_EQ(map.Apply("", kAny), "");
  EXPECT_ERROR("at most 5 bytes", map.Apply("aa", 5));
}

TEST(CharacterMapTest, MalformedTables) {
  const std::string good = SmallMap();
  EXPECT_ERROR("f: precompiled_charsmap: expected a size", CharacterMap("ab", "f"));
  EXPECT_ERROR("found 1024 and 1000 bytes", CharacterMap(good.substr(0, 1004), "f"));
  EXPECT_ERROR("expected texts in UTF-8", CharacterMap(good + "\xff", "f"));
  // Places beyond the table and beyond the texts are as good as none.
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x55);
    ErrorOf([&] { CharacterMap(bad, "f").Apply("cabc", kAny); });
  }
}

TEST(Base64Test, BothWays) {
  EXPECT_EQ(EncodeBase64("Man"), "TWFu");
  EXPECT_EQ(EncodeBase64("Ma"), "TWE=");
  EXPECT_EQ(EncodeBase64("M"), "TQ==");
  for (const std::string text : {"", "M", "Ma", "Man", "Many"}) {
    EXPECT_EQ(DecodeBase64(EncodeBase64(text), "f"), text);
  }
  EXPECT_ERROR("f: expected base64, found '-'", DecodeBase64("TW-u", "f"));
}

}  // namespace
}  // namespace fptq
