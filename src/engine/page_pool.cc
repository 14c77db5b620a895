#include "engine/page_pool.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"

namespace fptq {

PagePool::PagePool(int64_t pages, bool prefix_cache)
    : prefix_cache_(prefix_cache), index_(Order{this}) {
  FPTQ_CHECK(pages >= 0 && pages <= std::numeric_limits<int32_t>::max());
  pages_.resize(static_cast<size_t>(pages));
  for (int32_t page = 0; page < pages; ++page) {
    at(page).unused = unused_.insert(unused_.end(), page);
  }
}

PagePool::Key PagePool::Order::KeyOf(int32_t page) const {
  const Page& p = pool->pages_[static_cast<size_t>(page)];
  return {p.before, std::span(p.tokens).first(static_cast<size_t>(p.count))};
}

bool PagePool::Order::Less(const Key& a, const Key& b) {
  if (a.before != b.before) return a.before < b.before;
  return std::ranges::lexicographical_compare(a.tokens, b.tokens);
}

int32_t PagePool::Take() {
  if (unused_.empty()) return -1;
  const int32_t page = unused_.front();
  Forget(page);
  Refer(page);
  return page;
}

void PagePool::Refer(int32_t page) {
  Page& p = at(page);
  if (p.references++ == 0) unused_.erase(p.unused);
}

void PagePool::Release(int32_t page) {
  Page& p = at(page);
  FPTQ_CHECK(p.references > 0);
  if (--p.references > 0) return;
  // What cannot be found is of no use: it is taken first.
  p.unused = unused_.insert(p.count > 0 ? unused_.end() : unused_.begin(), page);
}

PagePool::Match PagePool::Find(const Key& key) const {
  // In the order of keys, what has most in common with one stands beside it.
  Match best;
  const auto look = [&](int32_t page) {
    const Key found = index_.key_comp().KeyOf(page);
    if (found.before != key.before) return;
    const int64_t count =
        std::ranges::mismatch(found.tokens, key.tokens).in1 - found.tokens.begin();
    if (count > best.count) best = {page, count};
  };
  const auto next = index_.lower_bound(key);
  if (next != index_.end()) look(*next);
  if (next != index_.begin()) look(*std::prev(next));
  return best;
}

void PagePool::Index(int32_t page, const Key& key) {
  Forget(page);
  Page& p = at(page);
  p.before = key.before;
  p.count = static_cast<int32_t>(key.tokens.size());
  std::ranges::copy(key.tokens, p.tokens.begin());
  if (p.count == kKvBlock) p.content = ++last_content_;
  FPTQ_CHECK(index_.insert(page).second);
}

void PagePool::Forget(int32_t page) {
  if (at(page).count == 0) return;
  index_.erase(page);
  at(page).count = 0;
}

PagePool::Key BlockTable::KeyOfNext(std::span<const int32_t> tokens) const {
  const auto rest = tokens.subspan(static_cast<size_t>(kept_ * kKvBlock));
  return {before_, rest.first(std::min(rest.size(), static_cast<size_t>(kKvBlock)))};
}

int64_t BlockTable::Share(std::span<const int32_t> tokens) {
  FPTQ_CHECK(pages_.empty());
  while ((kept_ + 1) * kKvBlock <= std::ssize(tokens)) {
    const PagePool::Match match = pool_->Find(KeyOfNext(tokens));
    if (match.count < kKvBlock) break;
    pool_->Refer(match.page);
    pages_.push_back(match.page);
    before_ = pool_->at(match.page).content;
    ++kept_;
  }
  return kept_ * kKvBlock;
}

int64_t BlockTable::ShareTail(std::span<const int32_t> tokens,
                              FunctionRef<void(int32_t, int32_t)> copy) {
  FPTQ_CHECK(kept_ == std::ssize(pages_));
  const PagePool::Match match = pool_->Find(KeyOfNext(tokens));
  if (match.count == 0) return 0;
  pool_->Refer(match.page);  // so that it is not taken for its own copy
  const int32_t page = pool_->Take();
  if (page >= 0) {
    copy(match.page, page);
    pages_.push_back(page);
  }
  pool_->Release(match.page);
  return page < 0 ? 0 : match.count;
}

bool BlockTable::Reserve(int64_t positions) {
  const int64_t wanted = (positions + kKvBlock - 1) / kKvBlock - std::ssize(pages_);
  if (wanted > pool_->available()) return false;
  for (int64_t i = 0; i < wanted; ++i) pages_.push_back(pool_->Take());
  return true;
}

void BlockTable::Keep(std::span<const int32_t> tokens) {
  FPTQ_CHECK(std::ssize(tokens) <= std::ssize(pages_) * kKvBlock);
  if (!pool_->prefix_cache_) return;
  while (kept_ * kKvBlock < std::ssize(tokens)) {
    int32_t& page = pages_[static_cast<size_t>(kept_)];
    FPTQ_CHECK(pool_->at(page).references == 1);
    const PagePool::Key key = KeyOfNext(tokens);
    const PagePool::Match known = pool_->Find(key);
    const bool whole = std::ssize(key.tokens) == kKvBlock;
    if (known.count < std::ssize(key.tokens)) {
      pool_->Index(page, key);
    } else if (whole && known.page != page) {
      pool_->Refer(known.page);
      pool_->Forget(page);
      pool_->Release(page);
      page = known.page;
    }
    if (!whole) return;
    before_ = pool_->at(page).content;
    ++kept_;
  }
}

void BlockTable::Drop(int64_t position) {
  for (; (dropped_ + 1) * kKvBlock <= position; ++dropped_) {
    FPTQ_CHECK(!pool_->prefix_cache_ || dropped_ < kept_);
    pool_->Release(std::exchange(pages_[static_cast<size_t>(dropped_)], -1));
  }
}

void BlockTable::Clear() {
  // The last one first, so that it goes before those that it is of no use without.
  while (std::ssize(pages_) > dropped_) {
    pool_->Release(pages_.back());
    pages_.pop_back();
  }
  pages_.clear();
  dropped_ = 0;
  kept_ = 0;
  before_ = 0;
}

}  // namespace fptq
