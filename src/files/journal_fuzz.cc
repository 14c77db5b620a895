#include "base/error.h"
#include "base/fuzz/target.h"
#include "files/journal.h"

namespace fptq {

// A journal reads what is undamaged, and goes on behind it.
FPTQ_FUZZ_TARGET(journal, kBytes) {
  static const FuzzFolder folder;
  const auto path = folder.Write("journal", input);
  size_t count = 0;
  {
    Journal journal(path);
    count = journal.records().size();
    journal.Append({{"layer", count}});
  }
  const Journal again(path);
  FPTQ_CHECK(again.records().size() == count + 1);
  FPTQ_CHECK(again.records().back() == Json({{"layer", count}}));
}

}  // namespace fptq
