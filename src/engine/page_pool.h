// Who has which page of a KV cache, and what the pages are known to hold.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <set>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/kernels.h"

namespace fptq {

// The pages of a KvCache, handed out to the block tables of sequences and counted by reference. A
// page that has been filled can be found by its tokens and all those before them: the prefix cache.
// When nobody refers to it any longer it is kept until room is needed; the one that has been unused
// for longest goes first. Keys and values are a function of the tokens alone, so what is found
// changes speed and no result. For one thread.
class PagePool {
 public:
  // `prefix_cache`: false, and nothing is found.
  explicit PagePool(int64_t pages, bool prefix_cache = true);
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  int64_t size() const { return std::ssize(pages_); }
  // Pages that can be handed out: nobody refers to them.
  int64_t available() const { return std::ssize(unused_); }
  // Pages that can be found by their tokens.
  int64_t findable() const { return std::ssize(index_); }

 private:
  friend class BlockTable;

  // All tokens up to the end of a whole page, as a number that stands for no others; 0: no tokens.
  using Content = int64_t;

  struct Page {
    int32_t references = 0;
    int32_t count = 0;    // how many tokens it is found by; 0: it is not in the index
    Content before = 0;   // of the page before
    Content content = 0;  // of this one, if it is found by a whole page of tokens
    std::array<int32_t, kKvBlock> tokens;
    std::list<int32_t>::iterator unused;  // while nobody refers to it
  };
  // A page, or what would be one: tokens that follow a content.
  struct Key {
    Content before;
    std::span<const int32_t> tokens;
  };
  struct Order {
    using is_transparent = void;
    const PagePool* pool;
    Key KeyOf(int32_t page) const;
    const Key& KeyOf(const Key& key) const { return key; }
    bool operator()(const auto& a, const auto& b) const { return Less(KeyOf(a), KeyOf(b)); }
    static bool Less(const Key& a, const Key& b);
  };
  struct Match {
    int32_t page = -1;
    int64_t count = 0;  // how many of the tokens it begins with
  };

  Page& at(int32_t page) { return pages_[static_cast<size_t>(page)]; }
  int32_t Take();  // an unused page; -1: there is none
  void Refer(int32_t page);
  void Release(int32_t page);
  // The page that has most of the key's tokens, from the first one on.
  Match Find(const Key& key) const;
  void Index(int32_t page, const Key& key);
  void Forget(int32_t page);

  bool prefix_cache_;
  std::vector<Page> pages_;
  std::list<int32_t> unused_;  // in the order in which they are taken
  std::set<int32_t, Order> index_;
  Content last_content_ = 0;
};

// The pages of one sequence, for its BatchChunks. Gives them back when it goes.
class BlockTable {
 public:
  explicit BlockTable(PagePool& pool) : pool_(&pool) {}
  BlockTable(const BlockTable&) = delete;
  BlockTable& operator=(const BlockTable&) = delete;
  ~BlockTable() { Clear(); }

  std::span<const int32_t> pages() const { return pages_; }
  int64_t available() const { return pool_->available(); }

  // For an empty table. Takes the whole pages that hold the beginning of `tokens`, in common with
  // whoever else has them; returns how many positions they are. None of them is to be written.
  int64_t Share(std::span<const int32_t> tokens);
  // After Share. If a page is known that begins as the rest of `tokens` does, gets a page and calls
  // copy(from, to). Returns how many more positions are there now.
  int64_t ShareTail(std::span<const int32_t> tokens, FunctionRef<void(int32_t, int32_t)> copy);

  // Gets pages until there is room for so many positions. False, with the table as it was, if the
  // pool has too few.
  [[nodiscard]] bool Reserve(int64_t positions);
  // Lets the table's first positions be found: they hold keys and values of `tokens`. A whole page
  // that is known already is given back for the other one.
  void Keep(std::span<const int32_t> tokens);
  // Gives back the pages all of whose positions come before `position`, of which Keep was told:
  // nobody will attend to them. They are -1 in pages() then.
  void Drop(int64_t position);
  void Clear();

 private:
  PagePool::Key KeyOfNext(std::span<const int32_t> tokens) const;

  PagePool* pool_;
  std::vector<int32_t> pages_;
  int64_t dropped_ = 0;           // pages at the beginning that were given back
  int64_t kept_ = 0;              // whole pages at the beginning that can be found
  PagePool::Content before_ = 0;  // the content of the last one of them
};

}  // namespace fptq
