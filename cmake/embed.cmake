# cmake -D FILE=FILE -D HEADER=server/page.h -D FUNCTION=PageHtml -D OUTPUT=FILE -P embed.cmake: writes a C++ file with
# the content of FILE, which the function returns.
file(READ "${FILE}" bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE "${OUTPUT}" "#include \"${HEADER}\"

namespace {
constexpr unsigned char kBytes[] = {
${bytes}
};
}  // namespace

std::string_view fptq::${FUNCTION}() {
  return {reinterpret_cast<const char*>(kBytes), sizeof(kBytes)};
}
")
