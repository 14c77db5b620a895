#include "base/fuzz/target.h"
#include "report/report_page.h"

namespace fptq {

// fptq.json, with what `fptq report` adds to it.
FPTQ_FUZZ_TARGET(report_page, kJson) { ReportPage(ParseJson(input, "file"), "file"); }

}  // namespace fptq
