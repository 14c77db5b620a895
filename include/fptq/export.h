// Marks what the shared library exports: nothing else is seen from outside.
#pragma once

#define FPTQ_API __attribute__((visibility("default")))
