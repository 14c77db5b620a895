// Memory that all clients share.
#pragma once

#include <cstdint>

namespace fptq {

// Counts bytes against a limit. Of one thread.
class Budget {
 public:
  explicit Budget(int64_t limit) : limit_(limit) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  int64_t limit() const { return limit_; }
  int64_t used() const { return used_; }

  // A part of it, given back at its end.
  class Share {
   public:
    explicit Share(Budget& budget) : budget_(budget) {}
    ~Share() { Set(0); }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    int64_t bytes() const { return bytes_; }
    // Makes the share so large; false, and as it was, if that is beyond the limit. Less is always
    // possible.
    bool Set(int64_t bytes) {
      if (bytes > bytes_ && budget_.used_ + bytes - bytes_ > budget_.limit_) return false;
      budget_.used_ += bytes - bytes_;
      bytes_ = bytes;
      return true;
    }

   private:
    Budget& budget_;
    int64_t bytes_ = 0;
  };

 private:
  int64_t limit_, used_ = 0;
};

}  // namespace fptq
