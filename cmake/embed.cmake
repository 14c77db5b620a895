# cmake -D PAGE=FILE.html -D OUTPUT=FILE.cc -P embed.cmake: writes a C++ file that has the page in it (server/page.h). Styles and
# scripts that it names, <link rel="stylesheet" href="NAME"> and <script src="NAME"></script>, are put in their place, and the
# Content-Security-Policy allows each by its SHA-256.
cmake_minimum_required(VERSION 3.25)

# The SHA-256 of a text, in base64: 32 bytes are ten times three, which are four digits of 6 bits each, and two.
function(base64_sha256 text out)
  set(digits "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
  string(SHA256 hex "${text}")
  string(APPEND hex "00")
  set(result "")
  foreach(start RANGE 0 60 6)
    string(SUBSTRING "${hex}" ${start} 6 bytes)
    math(EXPR number "0x${bytes}")
    foreach(shift 18 12 6 0)
      math(EXPR digit "(${number} >> ${shift}) & 63")
      string(SUBSTRING "${digits}" ${digit} 1 digit)
      string(APPEND result "${digit}")
    endforeach()
  endforeach()
  string(SUBSTRING "${result}" 0 43 result)  # The last digit is of the byte that was added.
  set(${out} "${result}=" PARENT_SCOPE)
endfunction()

# Replaces each `before`NAME`after` of the page by the file between the tags; `hashes` gets the sources that the policy allows.
function(inline before after open close hashes)
  get_filename_component(folder "${PAGE}" DIRECTORY)
  set(allowed "")
  while(TRUE)
    string(FIND "${html}" "${before}" start)
    if(start EQUAL -1)
      break()
    endif()
    string(SUBSTRING "${html}" 0 ${start} head)
    string(LENGTH "${before}" length)
    math(EXPR start "${start} + ${length}")
    string(SUBSTRING "${html}" ${start} -1 html)
    string(FIND "${html}" "${after}" end)
    string(SUBSTRING "${html}" 0 ${end} name)
    string(LENGTH "${after}" length)
    math(EXPR end "${end} + ${length}")
    string(SUBSTRING "${html}" ${end} -1 html)
    file(READ "${folder}/${name}" content)
    foreach(mark "${close}" "<!--")
      string(FIND "${content}" "${mark}" inner)
      if(NOT inner EQUAL -1)
        message(FATAL_ERROR "${name}: '${mark}' would change the element that it is put into")
      endif()
    endforeach()
    set(content "\n${content}")
    base64_sha256("${content}" hash)
    string(APPEND allowed " 'sha256-${hash}'")
    set(html "${head}${open}${content}${close}${html}")
  endwhile()
  set(html "${html}" PARENT_SCOPE)
  set(${hashes} "${allowed}" PARENT_SCOPE)
endfunction()

file(READ "${PAGE}" html)
inline("<link rel=\"stylesheet\" href=\"" "\">" "<style>" "</style>" styles)
inline("<script src=\"" "\"></script>" "<script>" "</script>" scripts)
string(CONCAT policy "default-src 'none'; script-src${scripts}; style-src${styles}; img-src data:; connect-src 'self'; "
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")

string(HEX "${html}" bytes)
string(REGEX REPLACE "(................................)" "\\1\n  " bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," bytes "${bytes}")
file(WRITE "${OUTPUT}" "#include \"server/page.h\"

namespace {
constexpr char kHtml[] = {
  ${bytes}};
constexpr char kPolicy[] = \"${policy}\";
}  // namespace

std::string_view fptq::PageHtml() { return {kHtml, sizeof(kHtml)}; }
std::string_view fptq::PageSecurityPolicy() { return kPolicy; }
")
