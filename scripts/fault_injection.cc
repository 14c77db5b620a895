// A library to preload: the calls of a program to the system and to malloc fail, or the program is
// killed, at a given one of them. scripts/fault_injection compiles and drives it.
//
// From main on, calls that reach a file are numbered, and so are allocations. At file call number
// FAULT_SERVER_AT (0: at main) the program becomes a server that forks a process for each line that
// it reads from file descriptor FAULT_SERVER_IN and writes its wait status, as a line, to
// FAULT_SERVER_OUT:
//   count LOG   runs on, and writes to the file LOG: a line "file NUMBER NAME PATH" a file call,
//   and
//               "malloc NUMBER" for the first allocation of each place in the code
//   fail N      file call N fails
//   kill N      the process is killed before file call N
//   malloc N    allocation N returns null
// A program without a server runs as it is, but that in all cases calls listed in FAULT_ALWAYS
// ("flock=ENOLCK,renameat2=EINVAL") fail with that error.
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace {

enum class Mode { kOff, kCount, kFail, kKill, kMalloc };

// The program has one thread.
bool g_in_main = false;  // between the beginning of main and exit()
bool g_busy = false;     // in this library
Mode g_mode = Mode::kOff;
int64_t g_target = 0;  // the call that fails
int64_t g_server_at = -1;
int64_t g_file_calls = 0, g_allocations = 0;
// Begins the line of standard error that tells which call failed, as they do not always come in the
// same order.
constexpr char kFailed[] = "fault_injection: failed ";
int g_log = -1;

struct Busy {
  Busy() { g_busy = true; }
  ~Busy() { g_busy = false; }
};

template <typename F>
F Next(F, const char* name) {
  const Busy busy;
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

int64_t NumberOf(const char* variable) {
  const char* text = getenv(variable);
  return text == nullptr ? -1 : atoll(text);
}

int OpenPlainly(const char* path, int flags) {
  static const auto next = Next(&open, "open");
  return next(path, flags, 0666);
}

ssize_t WritePlainly(int fd, const char* text) {
  static const auto next = Next(&write, "write");
  return next(fd, text, strlen(text));
}

// A line without its end; false at the end of the file.
bool ReadLine(int fd, char* line, size_t size) {
  static const auto next = Next(&read, "read");
  for (size_t i = 0; i + 1 < size; ++i) {
    if (next(fd, line + i, 1) != 1) return false;
    if (line[i] == '\n') {
      line[i] = 0;
      return true;
    }
  }
  return false;
}

void Obey(const char* line) {
  if (strncmp(line, "count ", 6) == 0) {
    g_mode = Mode::kCount;
    g_log = OpenPlainly(line + 6, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC);
    return;
  }
  g_mode = line[0] == 'f' ? Mode::kFail : line[0] == 'k' ? Mode::kKill : Mode::kMalloc;
  g_target = atoll(strchr(line, ' '));
}

// Returns in a process that obeys one line.
void Serve() {
  const int in = static_cast<int>(NumberOf("FAULT_SERVER_IN"));
  const int out = static_cast<int>(NumberOf("FAULT_SERVER_OUT"));
  char line[4096];
  g_server_at = -1;
  while (ReadLine(in, line, sizeof(line))) {
    const pid_t child = fork();
    if (child == 0) {
      Obey(line);
      return;
    }
    int status = 0;
    waitpid(child, &status, 0);
    snprintf(line, sizeof(line), "%d\n", status);
    WritePlainly(out, line);
  }
  _exit(0);
}

int ErrorNumber(const char* name) {
  const struct {
    const char* name;
    int number;
  } errors[] = {
      {"ENOLCK", ENOLCK}, {"EINVAL", EINVAL}, {"ENOSYS", ENOSYS}, {"EOPNOTSUPP", EOPNOTSUPP}};
  for (const auto& error : errors) {
    if (strncmp(name, error.name, strlen(error.name)) == 0) return error.number;
  }
  return EIO;
}

// The error that FAULT_ALWAYS has for a call; 0 if none.
int AlwaysFails(const char* name) {
  const char* found = getenv("FAULT_ALWAYS");
  for (; found != nullptr; found = strchr(found, ',')) {
    if (*found == ',') ++found;
    const size_t length = strlen(name);
    if (strncmp(found, name, length) == 0 && found[length] == '=') {
      return ErrorNumber(found + length + 1);
    }
  }
  return 0;
}

// Called before each file call; an error number if it is to fail, 0 otherwise.
int FileCall(const char* name, const char* path, int error) {
  if (!g_in_main || g_busy) return 0;
  const Busy busy;
  if (const int always = AlwaysFails(name); always != 0) return always;
  if (++g_file_calls == g_server_at) Serve();
  if (g_mode == Mode::kCount) {
    char line[4096];
    snprintf(line, sizeof(line), "file %ld %s %s\n", static_cast<long>(g_file_calls), name, path);
    WritePlainly(g_log, line);
  }
  if (g_file_calls != g_target) return 0;
  if (g_mode == Mode::kKill) kill(getpid(), SIGKILL);
  if (g_mode != Mode::kFail) return 0;
  char line[64];
  snprintf(line, sizeof(line), "%s%s\n", kFailed, name);
  WritePlainly(STDERR_FILENO, line);
  return error;
}

// Whether this place in the code was not there before.
bool IsNewPlace() {
  constexpr int kFrames = 12;
  constexpr size_t kSlots = size_t{1} << 20;
  static uint64_t* places = static_cast<uint64_t*>(__libc_calloc(kSlots, sizeof(uint64_t)));
  void* frames[kFrames];
  const int count = backtrace(frames, kFrames);
  uint64_t hash = 14695981039346656037u;
  for (int i = 2; i < count; ++i) {
    hash = (hash ^ reinterpret_cast<uint64_t>(frames[i])) * 1099511628211u;
  }
  for (size_t slot = hash % kSlots;; slot = (slot + 1) % kSlots) {
    if (places[slot] == hash) return false;
    if (places[slot] != 0) continue;
    places[slot] = hash;
    return true;
  }
}

// Called before each allocation; whether it is to fail.
bool Allocation() {
  if (!g_in_main || g_busy) return false;
  const Busy busy;
  ++g_allocations;
  if (g_mode == Mode::kCount && IsNewPlace()) {
    char line[64];
    snprintf(line, sizeof(line), "malloc %ld\n", static_cast<long>(g_allocations));
    WritePlainly(g_log, line);
  }
  return g_mode == Mode::kMalloc && g_allocations == g_target;
}

int (*g_main)(int, char**, char**) = nullptr;

int Main(int argc, char** argv, char** environment) {
  {
    const Busy busy;
    void* frame[1];
    backtrace(frame, 1);  // which allocates when it is called for the first time
    g_server_at = NumberOf("FAULT_SERVER_AT");
    if (g_server_at == 0) Serve();
  }
  g_in_main = true;
  const int status = g_main(argc, argv, environment);
  g_in_main = false;
  return status;
}

}  // namespace

#define FAIL_WITH(error, result)       \
  if (const int e = (error); e != 0) { \
    errno = e;                         \
    return result;                     \
  }

// A call whose first argument is a path.
#define PATH_CALL(name, error, parameters, arguments) \
  int name parameters {                               \
    static const auto next = Next(&::name, #name);    \
    FAIL_WITH(FileCall(#name, path, error), -1)       \
    return next arguments;                            \
  }

// One whose first argument is a file descriptor.
#define FD_CALL(type, name, error, parameters, arguments) \
  type name parameters {                                  \
    static const auto next = Next(&::name, #name);        \
    FAIL_WITH(FileCall(#name, "", error), -1)             \
    return next arguments;                                \
  }

extern "C" {

int __libc_start_main(int (*main)(int, char**, char**), int argc, char** argv, void (*init)(),
                      void (*fini)(), void (*rtld_fini)(), void* stack_end) {
  g_main = main;
  const auto next = Next(&__libc_start_main, "__libc_start_main");
  return next(Main, argc, argv, init, fini, rtld_fini, stack_end);
}

void* malloc(size_t size) {
  FAIL_WITH(Allocation() ? ENOMEM : 0, nullptr)
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  FAIL_WITH(Allocation() ? ENOMEM : 0, nullptr)
  return __libc_calloc(count, size);
}
void* realloc(void* old, size_t size) {
  FAIL_WITH(Allocation() ? ENOMEM : 0, nullptr)
  return __libc_realloc(old, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  FAIL_WITH(Allocation() ? ENOMEM : 0, nullptr)
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** result, size_t alignment, size_t size) {
  if (Allocation()) return ENOMEM;
  *result = __libc_memalign(alignment, size);
  return 0;
}

int open(const char* path, int flags, ...) {
  static const auto next = Next(&open, "open");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  FAIL_WITH(FileCall("open", path, EMFILE), -1)
  return next(path, flags, mode);
}
int openat(int folder, const char* path, int flags, ...) {
  static const auto next = Next(&openat, "openat");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  FAIL_WITH(FileCall("openat", path, EMFILE), -1)
  return next(folder, path, flags, mode);
}
int mkostemp(char* path, int flags) {
  static const auto next = Next(&mkostemp, "mkostemp");
  FAIL_WITH(FileCall("mkostemp", path, EMFILE), -1)
  return next(path, flags);
}
FILE* fopen(const char* path, const char* mode) {
  static const auto next = Next(&fopen, "fopen");
  FAIL_WITH(FileCall("fopen", path, EMFILE), nullptr)
  return next(path, mode);
}
FILE* fopen64(const char* path, const char* mode) {
  static const auto next = Next(&fopen64, "fopen64");
  FAIL_WITH(FileCall("fopen64", path, EMFILE), nullptr)
  return next(path, mode);
}
DIR* opendir(const char* path) {
  static const auto next = Next(&opendir, "opendir");
  FAIL_WITH(FileCall("opendir", path, EMFILE), nullptr)
  return next(path);
}
DIR* fdopendir(int fd) {
  static const auto next = Next(&fdopendir, "fdopendir");
  FAIL_WITH(FileCall("fdopendir", "", ENOMEM), nullptr)
  return next(fd);
}
dirent* readdir(DIR* folder) {
  static const auto next = Next(&readdir, "readdir");
  FAIL_WITH(FileCall("readdir", "", EIO), nullptr)
  return next(folder);
}
char* realpath(const char* path, char* resolved) {
  static const auto next = Next(&realpath, "realpath");
  FAIL_WITH(FileCall("realpath", path, EIO), nullptr)
  return next(path, resolved);
}
void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  static const auto next = Next(&mmap, "mmap");
  FAIL_WITH(FileCall("mmap", "", ENOMEM), MAP_FAILED)
  return next(address, size, protection, flags, fd, offset);
}
int posix_fallocate(int fd, off_t offset, off_t size) {
  static const auto next = Next(&posix_fallocate, "posix_fallocate");
  if (const int error = FileCall("posix_fallocate", "", ENOSPC); error != 0) return error;
  return next(fd, offset, size);
}
int close(int fd) {
  static const auto next = Next(&close, "close");
  const int error = FileCall("close", "", EIO);
  const int result = next(fd);  // it is closed, whatever it says
  FAIL_WITH(error, -1)
  return result;
}
int renameat2(int from_folder, const char* path, int to_folder, const char* to,
              unsigned int flags) noexcept {
  static const auto next = Next(&renameat2, "renameat2");
  FAIL_WITH(FileCall("renameat2", path, EIO), -1)
  return next(from_folder, path, to_folder, to, flags);
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  static const auto next = Next(&unlinkat, "unlinkat");
  FAIL_WITH(FileCall("unlinkat", path, EIO), -1)
  return next(folder, path, flags);
}
PATH_CALL(rename, EIO, (const char* path, const char* to) noexcept, (path, to))
PATH_CALL(mkdir, ENOSPC, (const char* path, mode_t mode) noexcept, (path, mode))
PATH_CALL(rmdir, EIO, (const char* path) noexcept, (path))
PATH_CALL(unlink, EIO, (const char* path) noexcept, (path))
PATH_CALL(stat, EIO, (const char* path, struct stat* status) noexcept, (path, status))
PATH_CALL(lstat, EIO, (const char* path, struct stat* status) noexcept, (path, status))
FD_CALL(int, fstat, EIO, (int fd, struct stat* status) noexcept, (fd, status))
FD_CALL(int, flock, EIO, (int fd, int operation) noexcept, (fd, operation))
FD_CALL(int, fsync, EIO, (int fd), (fd))
FD_CALL(int, ftruncate, ENOSPC, (int fd, off_t size) noexcept, (fd, size))
PATH_CALL(statvfs, EIO, (const char* path, struct statvfs* status) noexcept, (path, status))
FD_CALL(int, fstat64, EIO, (int fd, struct stat64* status) noexcept, (fd, status))
FD_CALL(off64_t, lseek64, EIO, (int fd, off64_t offset, int whence) noexcept, (fd, offset, whence))
FD_CALL(ssize_t, writev, ENOSPC, (int fd, const iovec* data, int count), (fd, data, count))
FD_CALL(off_t, lseek, EIO, (int fd, off_t offset, int whence) noexcept, (fd, offset, whence))
FD_CALL(ssize_t, read, EIO, (int fd, void* data, size_t size), (fd, data, size))
FD_CALL(ssize_t, write, ENOSPC, (int fd, const void* data, size_t size), (fd, data, size))

}  // extern "C"
