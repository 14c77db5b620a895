#include "kernels/emulation/avx512.h"
// As it is, with emulated instructions.
#include "kernels/avx512vnni.cc"
