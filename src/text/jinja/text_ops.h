// What both methods and filters do with texts.
#pragma once

#include <vector>

#include "text/jinja/heap.h"

namespace fptq::jinja {

// text.replace(old_part, new_part, count); all of them if `count` is negative.
Text ReplaceText(Heap& heap, TextView text, TextView old_part, TextView new_part, int64_t count);

// The lines of `text`, by all line breaks that Unicode has.
std::vector<TextView> SplitLines(TextView text, bool keep_ends = false);

}  // namespace fptq::jinja
